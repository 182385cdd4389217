"""A loopback Hub in a thread: the real clients make repositories, upload, commit and read there. Without Xet.

It counts every request and its bytes, and goes wrong as it is told to (`Fault`).
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_store import ATTRIBUTES, Entry, Pull, Refused, Repo, is_large, sha256

NOW = "2026-11-29T00:00:00.000Z"
PAGE = 1000


@dataclass(frozen=True)
class User:
    name: str = "tester"
    orgs: tuple[str, ...] = ("org",)
    role: str = "write"


@dataclass(frozen=True)
class Request:
    """One that was answered: bytes of its body, and of the answer's."""

    method: str
    path: str
    received: int
    sent: int
    status: int


@dataclass
class Fault:
    """What goes wrong with requests whose method and path match.

    Attributes:
        status: that is answered; 0 with `drop`.
        drop: the connection is closed without an answer.
        after: the work is done first.
        times, skip: how often, and after how many that went well.
        delay: seconds before anything.
        raw: body of the answer, as some proxies send HTML.
    """

    method: str
    pattern: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    after: bool = False
    times: int = 1
    skip: int = 0
    delay: float = 0.0
    raw: bytes = b""
    message: str = ""

    def hits(self, method: str, path: str) -> bool:
        if self.times <= 0 or method != self.method or re.search(self.pattern, path) is None:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed has gone: nothing to print."""


class HubServer:
    """See the module.

    Attributes:
        users: token -> user.
        repos: name -> repository.
        objects: SHA-256 -> contents of large files, of all repositories.
        requests: what was asked.
        faults: what goes wrong.
        copies: whether files are copied between repositories.
        renamed: old name of a repository -> the one that it has now; the old one leads there, as on the Hub.
        xet_hashes: SHA-256 -> hash of Xet, where there is Xet (`tests/hub_xet.py`).
    """

    def __init__(self) -> None:
        self.users = {"hf_write": User(), "hf_read": User(role="read"), "hf_other": User("other", ())}
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.copies = True
        self.renamed: dict[str, str] = {}
        self.xet_hashes: dict[str, str] = {}
        self.lock = threading.RLock()
        self._server = _Server(("127.0.0.1", 0), type("Bound", (self.handler,), {"hub": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def handler(self) -> type[Handler]:
        """Who answers."""
        return Handler

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def create(self, name: str, files: Mapping[str, bytes] | None = None, *, private: bool = False) -> Repo:
        """A repository with a first commit, as the Hub makes it."""
        made = self.repos[name] = Repo(name, private=private)
        made.put({".gitattributes": Entry(ATTRIBUTES, False)}, "initial commit")
        if files:
            made.change(files, "files")
            self.objects.update({sha256(entry.data): entry.data for entry in made.at().files.values() if entry.lfs})
        return made

    def forget(self) -> None:
        self.requests.clear()

    def count(self, method: str = "", pattern: str = "") -> int:
        return sum(one.method.startswith(method) and bool(re.search(pattern, one.path)) for one in self.requests)

    def received(self, method: str = "", pattern: str = "") -> int:
        """Bytes of the bodies of matching requests."""
        found = (o for o in self.requests if o.method.startswith(method) and re.search(pattern, o.path))
        return sum(one.received for one in found)

    def environment(self, home: Path, token: str | None = "hf_write", **more: str) -> dict[str, str]:
        """For a process that knows this hub and no other, with a cache of its own."""
        bare = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {**bare, **ours, **({"HF_TOKEN": token} if token else {}), **more}


class Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self._chunked() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        split = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(split.query).items()}
        self.raw_path = split.path
        self.headers_out: dict[str, str] = {}
        self.done = 0
        with self.hub.lock:
            fault = next((one for one in self.hub.faults if one.hits(self.command, split.path)), None)
        try:
            status, body = self._with_fault(fault)
        except Refused as refused:
            status, body = refused.status, json.dumps({"error": refused.message or refused.code}).encode()
            code = {"X-Error-Code": refused.code} if refused.code else {}
            self.headers_out = {**self.headers_out, **code, "X-Error-Message": refused.message}
        except ConnectionAbortedError:
            self.close_connection = True
            self._note(0, 0)
            return
        self._send(status, body)

    def _with_fault(self, fault: Fault | None) -> tuple[int, bytes]:
        if fault is None:
            return self.route()
        time.sleep(fault.delay)
        found = self.route() if fault.after or not (fault.drop or fault.status) else None
        if fault.drop:
            raise ConnectionAbortedError
        if not fault.status:
            assert found is not None
            return found
        self.headers_out = {**fault.headers, **({"X-Error-Message": fault.message} if fault.message else {})}
        return fault.status, fault.raw or json.dumps({"error": fault.message or "as told"}).encode()

    def _chunked(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _note(self, status: int, sent: int) -> None:
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, self.raw_path, len(self.body), sent, status))

    def _send(self, status: int, body: bytes) -> None:
        alone = self.command == "HEAD"
        self._note(status, 0 if alone else len(body))  # before the client knows, which may look at once
        self.send_response(status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        if "Content-Length" not in self.headers_out:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not alone:
            self.wfile.write(body)

    def json(self, made: Any, status: int = 200) -> tuple[int, bytes]:
        self.headers_out["Content-Type"] = "application/json"
        return status, json.dumps(made).encode()

    @property
    def user(self) -> User | None:
        return self.hub.users.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))

    # Who asks for what.

    def route(self) -> tuple[int, bytes]:
        path = self.raw_path
        for old, new in self.hub.renamed.items():
            if re.search(rf"/datasets/{re.escape(old)}(?=[/.]|$)", path):
                self.headers_out["Location"] = self.path.replace(old, new, 1)
                return self.json({"error": f"moved to {new}"}, 307)
        if path.startswith("/lfs/"):
            return self.object(path.removeprefix("/lfs/"))
        if path.startswith("/api/"):
            return self.api(path.removeprefix("/api/"))
        hit = re.fullmatch(r"/datasets/([^/]+/[^/]+?)(\.git/info/lfs/objects/batch|/resolve/([^/]+)/(.+))", path)
        if hit is None:
            raise Refused(404)
        repo = self.readable(hit[1])
        if hit[3] is None:
            return self.batch(self.writable(hit[1]))
        return self.resolve(repo, unquote(hit[3]), unquote(hit[4]))

    def api(self, path: str) -> tuple[int, bytes]:
        if path == "whoami-v2":
            return self.whoami()
        if path == "validate-yaml":
            return self.validate(json.loads(self.body)["content"])
        if path == "repos/create":
            return self.create(json.loads(self.body))
        if path == "datasets":
            return self.datasets()
        hit = re.fullmatch(r"datasets/([^/]+/[^/]+)(?:/(.*))?", path)
        if hit is None:
            raise Refused(404)
        what, _, rest = (hit[2] or "").partition("/")
        action = getattr(self, f"api_{what.replace('-', '_')}" if what else "api_info", None)
        if action is None:
            raise Refused(404)
        return action(hit[1], rest)  # type: ignore[no-any-return]

    def readable(self, name: str) -> Repo:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and not self.may_write(name)):
            raise Refused(401 if self.user is None else 404, "RepoNotFound", "Repository not found")
        if repo.gated and not self.may_write(name):
            raise Refused(403, "GatedRepo", "Access is restricted")
        return repo

    def may_write(self, name: str) -> bool:
        user = self.user
        return user is not None and name.partition("/")[0] in (user.name, *user.orgs)

    def writable(self, name: str) -> Repo:
        repo = self.readable(name)
        self.allow(name)
        return repo

    def allow(self, name: str) -> None:
        if self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        if not self.may_write(name) or self.user.role == "read":
            raise Refused(403, "", f"You don't have the rights to write to {name}")

    # The API.

    def whoami(self) -> tuple[int, bytes]:
        user = self.user
        if user is None:
            raise Refused(401, "", "Invalid username or password.")
        orgs = [{"name": name} for name in user.orgs]
        access = {"accessToken": {"role": user.role, "displayName": "test"}}
        return self.json({"type": "user", "name": user.name, "orgs": orgs, "auth": access})

    def datasets(self) -> tuple[int, bytes]:
        """Those of an owner that the user may see."""
        owner = self.query.get("author", "")
        seen = [name for name, repo in sorted(self.hub.repos.items()) if not repo.private or self.may_write(name)]
        return self.json([{"id": name} for name in seen if name.startswith(f"{owner}/")])

    def validate(self, content: str) -> tuple[int, bytes]:
        wrong = content.startswith("---\nlicense: not-a-license\n")
        errors = [{"message": '"license" must be one of [apache-2.0, ...]'}] if wrong else []
        return self.json({"errors": errors, "warnings": []}, 400 if wrong else 200)

    def create(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        owner = asked.get("organization") or (self.user.name if self.user else "")
        name = f"{owner}/{asked['name']}"
        self.allow(name)
        url = f"{self.hub.url}/datasets/{name}"
        with self.hub.lock:
            if name in self.hub.repos:
                self.headers_out["X-Error-Message"] = "You already created this dataset repo"
                return self.json({"error": "You already created this dataset repo", "url": url}, 409)
            self.hub.create(name, private=bool(asked.get("private")) or asked.get("visibility") == "private")
        return self.json({"url": url, "name": name})

    def api_info(self, name: str, rest: str) -> tuple[int, bytes]:
        return self.api_revision(name, "main")

    def api_revision(self, name: str, rest: str) -> tuple[int, bytes]:
        repo = self.readable(name)
        commit = repo.at(unquote(rest))
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        return self.json(
            {"id": name, "sha": commit.oid, "private": repo.private, "siblings": siblings, "tags": [], "gated": False}
        )

    def api_refs(self, name: str, rest: str) -> tuple[int, bytes]:
        repo = self.readable(name)
        refs = [{"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": oid} for ref, oid in repo.refs.items()]
        branches = [one for one in refs if not one["name"].startswith("refs/")]
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in repo.tags.items()]
        pulls = [{**one, "ref": one["name"]} for one in refs if one["name"].startswith("refs/pr/")]
        return self.json({"branches": branches, "converts": [], "tags": tags, "pullRequests": pulls})

    def api_branch(self, name: str, rest: str) -> tuple[int, bytes]:
        repo, branch = self.writable(name), unquote(rest)
        if branch in repo.refs:
            raise Refused(409, "", "Reference already exists")
        repo.refs[branch] = repo.head((json.loads(self.body or b"{}") or {}).get("startingPoint") or "main")
        return self.json({})

    def api_auth_check(self, name: str, rest: str) -> tuple[int, bytes]:
        (self.writable if rest == "write" else self.readable)(name)
        return self.json({})

    def api_tree(self, name: str, rest: str) -> tuple[int, bytes]:
        rev, _, under = rest.partition("/")
        commit, under = self.readable(name).at(unquote(rev)), unquote(under).strip("/")
        found = _tree(commit.files, under, recursive=self.query.get("recursive", "").lower() == "true")
        if under and not found:
            raise Refused(404, "EntryNotFound", f"{under} does not exist on {unquote(rev)}")
        start = int(self.query.get("cursor", 0))
        if start + PAGE < len(found):
            query = "&".join(f"{k}={v}" for k, v in {**self.query, "cursor": str(start + PAGE)}.items())
            self.headers_out["Link"] = f'<{self.hub.url}{self.raw_path}?{query}>; rel="next"'
        return self.json(found[start : start + PAGE])

    def api_paths_info(self, name: str, rest: str) -> tuple[int, bytes]:
        commit = self.readable(name).at(unquote(rest))
        if self.headers.get("Content-Type", "").startswith("application/json"):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        folders = {entry["path"]: entry for entry in _tree(commit.files, "", recursive=True)}
        return self.json([folders[path.rstrip("/")] for path in paths if path.rstrip("/") in folders])

    def api_preupload(self, name: str, rest: str) -> tuple[int, bytes]:
        commit = self.writable(name).at(unquote(rest))
        answers = []
        for file in json.loads(self.body)["files"]:
            there = commit.files.get(file["path"])
            oid = None
            if there is not None:
                oid = sha256(there.data) if there.lfs else there.info(file["path"])["oid"]
            mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.json({"files": answers})

    def batch(self, repo: Repo) -> tuple[int, bytes]:
        objects = []
        for one in json.loads(self.body)["objects"]:
            there = one["oid"] in self.hub.objects
            actions = {
                "upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"},
                "verify": {"href": f"{self.hub.url}/lfs/{one['oid']}"},
            }
            objects.append({**one, **({} if there else {"actions": actions})})
        return self.json({"transfer": "basic", "objects": objects})

    def object(self, oid: str) -> tuple[int, bytes]:
        if self.command == "PUT":
            if sha256(self.body) != oid:
                raise Refused(400, "", "the contents have another hash")
            self.hub.objects[oid] = self.body
        elif oid not in self.hub.objects:
            raise Refused(404)
        elif self.command == "POST" and json.loads(self.body) != {"oid": oid, "size": len(self.hub.objects[oid])}:
            raise Refused(422, "", "another size or hash arrived")
        return self.json({})

    def api_lfs_files(self, name: str, rest: str) -> tuple[int, bytes]:
        self.readable(name)
        asked = json.loads(self.body)
        self.writable(asked["target"]["name"])
        wrong = [{"sha256": one["sha256"], "error": "another region"} for one in asked["files"]]
        return self.json({"success": [], "failed": [] if self.hub.copies else wrong})

    def api_commit(self, name: str, rest: str) -> tuple[int, bytes]:
        repo, rev = self.writable(name), unquote(rest)
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        with repo.lock:
            parent = header.get("parentCommit")
            if parent is not None and parent != repo.head(rev):
                raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
            files = dict(repo.at(rev).files)
            for line in lines:
                self._operate(files, line["key"], line["value"])
            made = repo.put(files, header["summary"], rev, header.get("description", ""))
        url = f"{self.hub.url}/datasets/{name}/commit/{made.oid}"
        return self.json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})

    def _operate(self, files: dict[str, Entry], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            files[value["path"]] = Entry(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] not in self.hub.objects:
                raise Refused(400, "", f"{value['path']} was not uploaded")
            files[value["path"]] = Entry(self.hub.objects[value["oid"]], True, self.hub.xet_hashes.get(value["oid"]))
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
        elif key == "deletedFolder":
            for path in [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]:
                del files[path]
        elif key != "header":
            raise Refused(400, "", f"unknown operation {key}")

    def api_discussions(self, name: str, rest: str) -> tuple[int, bytes]:
        repo = self.readable(name)
        if not rest:
            return self._pulls(repo)
        number, _, action = rest.partition("/")
        pull = repo.pulls.get(int(number))
        if pull is None:
            raise Refused(404)
        if action == "status":
            self.writable(name)
            pull.status = json.loads(self.body)["status"]
            event = {"id": "e", "type": "status-change", "createdAt": NOW, "data": {"status": pull.status}}
            return self.json({"newStatus": event})
        if action == "merge":
            return self._merge(self.writable(name), pull)
        return self.json({**_pull(repo, pull), "events": [], "diff": "", "filesWithConflicts": []})

    def _pulls(self, repo: Repo) -> tuple[int, bytes]:
        if self.command == "POST":
            asked, user = json.loads(self.body), self.user
            if user is None:
                raise Refused(401, "", "Invalid username or password.")
            return self.json({"num": repo.open_pull(asked["title"], user.name, asked["description"]).number})
        found = [_pull(repo, pull) for pull in repo.pulls.values()]
        return self.json({"count": len(found), "start": 0, "discussions": found})

    def _merge(self, repo: Repo, pull: Pull) -> tuple[int, bytes]:
        with repo.lock:
            if pull.status != "open":
                raise Refused(400, "", f"a pull request that is {pull.status} can't be merged")
            repo.merge(pull)
        return self.json({})

    def resolve(self, repo: Repo, rev: str, path: str) -> tuple[int, bytes]:
        commit = repo.at(rev)
        self.headers_out["X-Repo-Commit"] = commit.oid
        entry = commit.files.get(path)
        if entry is None:
            raise Refused(404, "EntryNotFound", "Entry not found")
        tag = sha256(entry.data) if entry.lfs else str(entry.info(path)["oid"])
        self.headers_out |= {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        if entry.lfs:
            self.headers_out |= {"X-Linked-Size": str(len(entry.data)), "X-Linked-Etag": f'"{tag}"'}
        if entry.xet:
            route = f"{self.hub.url}/api/datasets/{repo.name}/xet-read-token/{commit.oid}"
            self.headers_out |= {"X-Xet-Hash": entry.xet, "X-Xet-Refresh-Route": route}
        return self._ranged(entry.data)

    def _ranged(self, data: bytes) -> tuple[int, bytes]:
        hit = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if hit is None:
            self.headers_out["Content-Length"] = str(len(data))
            return 200, data
        first = int(hit[1]) if hit[1] else max(len(data) - int(hit[2]), 0)
        last = min(int(hit[2]), len(data) - 1) if hit[1] and hit[2] else len(data) - 1
        if first >= len(data):
            raise Refused(416)
        self.headers_out["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return 206, data[first : last + 1]


def _tree(files: Mapping[str, Entry], under: str, *, recursive: bool) -> list[dict[str, Any]]:
    prefix = f"{under}/" if under else ""
    found: dict[str, dict[str, Any]] = {}
    for path, entry in sorted(files.items()):
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            folder = prefix + "/".join(parts[:depth])
            found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": "0" * 40}
        if recursive or len(parts) == 1:
            found[path] = dict(entry.info(path))
    return list(found.values())


def _pull(repo: Repo, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.number,
        "title": pull.title,
        "author": {"name": pull.author},
        "createdAt": NOW,
        "status": pull.status,
        "repo": {"name": repo.name, "type": "dataset"},
        "isPullRequest": True,
        "changes": {"base": "refs/heads/main", "mergeCommitId": pull.merged},
    }
