"""Makes the demo's pool: image-caption pairs with the ills of a real crawl, the same bytes for the same seed.

    python recipes/demo/make_pool.py demo/pool

Writes webdataset/*.tar, parquet/*.parquet (the same rows), metadata/*.parquet (DataComp's metadata, without images) and
truth.parquet (uid, matches: does the caption match the image), and prints how many rows of each kind there are.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import random
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from world import caption, draw, encoded, scene, wrong_in_one_detail

OTHER_LANGUAGES = (
    "ein roter Kreis und ein blaues Quadrat auf einem grauen Hintergrund",
    "un cercle rouge à côté d'un carré bleu sur un fond gris",
    "una foto de una estrella amarilla sobre un fondo marrón",
    "uma imagem de um triângulo verde em um fundo cinza",
    "zdjęcie czerwonego koła obok niebieskiego kwadratu na szarym tle",
    "фотография красного круга рядом с синим квадратом на сером фоне",
    "灰色の背景に赤い丸と青い四角がある写真です",
    "这是一张灰色背景上的红色圆形和蓝色方形的照片",
    "une étoile jaune dessinée au-dessus d'un anneau violet",
    "ein gelber Stern liegt über einem violetten Ring auf dem Tisch",
)
SPAM = (
    "IMG_{n}.JPG",
    "DSC0{n}",
    "click here to buy now best price free shipping {n}",
    "Wallpaper HD 1920x1080 download {n}",
    "http://example.com/images/{n}.jpg",
)

KINDS = {
    "clean": 0.4,
    "mismatched": 0.26,
    "one detail wrong": 0.05,
    "other language": 0.06,
    "short caption": 0.025,
    "spam caption": 0.03,
    "empty caption": 0.01,
    "missing caption": 0.01,
    "overlong caption": 0.005,
    "caption not UTF-8": 0.005,
    "tiny image": 0.02,
    "extreme aspect": 0.015,
    "corrupt image": 0.01,
    "truncated image": 0.01,
    "missing image": 0.005,
    "exact duplicate": 0.01,
    "same image, other caption": 0.01,
    "duplicate uid": 0.0025,
    "grayscale": 0.01,
    "CMYK": 0.01,
    "palette PNG": 0.01,
    "GIF": 0.005,
    "animated GIF": 0.005,
    "RGBA PNG": 0.01,
    "16-bit PNG": 0.0025,
    "WebP": 0.01,
    "EXIF rotated": 0.01,
}
"""Kind of row -> share of the pool (normalised)."""


@dataclass
class Row:
    """One row of the pool. `image` or `text` None: the member is missing."""

    kind: str
    uid: str
    text: bytes | None
    image: bytes | None
    form: str
    width: int
    height: int
    matches: bool
    clip: float = field(default=0.0)


def kinds(rows: int, seed: int) -> list[str]:
    """A kind for each row: every kind at least once, the shares kept, in a shuffled order."""
    total = sum(KINDS.values())
    counts = {kind: max(1, round(rows * share / total)) for kind, share in KINDS.items()}
    counts["clean"] += rows - sum(counts.values())
    order = [kind for kind, n in counts.items() for _ in range(n)]
    random.Random(f"order {seed}").shuffle(order)
    return order


def make_row(kind: str, n: int, seed: int) -> Row:
    """Row number n of a pool."""
    item = seed * 1_000_003 + n
    dice = random.Random(f"row {item}")
    what = scene(item)
    side = dice.choice((256, 320, 384, 512))
    image = draw(what, item, side)
    scale = dice.choice((1, 1, 1, 2, 3))
    row = Row(
        kind=kind,
        uid=hashlib.blake2b(f"uid {item}".encode(), digest_size=16).hexdigest(),
        text=caption(what, item).encode(),
        image=encoded(image, quality=dice.randint(70, 95)),
        form="jpg",
        width=side * scale,
        height=side * scale,
        matches=True,
    )
    spoil(row, image, item, dice)
    row.clip = round(dice.gauss(0.29 if row.matches else 0.2, 0.04), 3) if dice.random() > 0.005 else float("nan")
    return row


def spoil(row: Row, image: Image.Image, item: int, dice: random.Random) -> None:
    """Gives the row what its kind says."""
    spoil_text(row, item, dice)
    spoil_file(row, dice)
    reform(row, image, dice)
    if row.kind == "tiny image":
        image = image.resize((dice.randint(24, 150), dice.randint(24, 150)))
        row.image, (row.width, row.height) = encoded(image), image.size
    if row.kind == "extreme aspect":
        image = image.resize((image.width, max(8, image.width // dice.randint(4, 9))))
        row.image, (row.width, row.height) = encoded(image), (image.width * 3, image.height * 3)


def spoil_text(row: Row, item: int, dice: random.Random) -> None:
    """Captions that do not match, or are no captions."""
    if row.kind == "mismatched":
        row.text, row.matches = caption(scene(item + 500_000_000), item).encode(), False
    elif row.kind == "one detail wrong":
        row.text, row.matches = caption(wrong_in_one_detail(scene(item), item), item).encode(), False
    elif row.kind == "other language":
        row.text, row.matches = dice.choice(OTHER_LANGUAGES).encode(), False
    elif row.kind == "short caption":
        row.text = " ".join(caption(scene(item), item).split()[-dice.randint(1, 2) :]).encode()
    elif row.kind == "spam caption":
        row.text, row.matches = dice.choice(SPAM).format(n=dice.randint(1000, 9999)).encode(), False
    elif row.kind == "empty caption":
        row.text, row.matches = dice.choice((b"", b"   ", b"\n")), False
    elif row.kind == "missing caption":
        row.text, row.matches = None, False
    elif row.kind == "overlong caption":
        row.text = " ".join([(row.text or b"").decode()] * 200).encode()
    elif row.kind == "caption not UTF-8":
        row.text, row.matches = "a café with a naïve façade in the rain".encode("latin-1"), False


def spoil_file(row: Row, dice: random.Random) -> None:
    """Files that are damaged or gone."""
    data = row.image or b""
    if row.kind == "corrupt image":
        row.image, row.matches = data[:2] + dice.randbytes(400), False
    elif row.kind == "truncated image":
        row.image, row.matches = data[: len(data) // 3], False
    elif row.kind == "missing image":
        row.image, row.matches = None, False


def reform(row: Row, image: Image.Image, dice: random.Random) -> None:
    """The other forms that images come in."""
    if row.kind == "grayscale":
        row.image = encoded(image.convert("L"))
    elif row.kind == "CMYK":
        row.image = encoded(image.convert("CMYK"))
    elif row.kind == "palette PNG":
        row.image, row.form = encoded(image.quantize(64), "PNG"), "png"
    elif row.kind == "GIF":
        row.image, row.form = encoded(image.quantize(64), "GIF"), "gif"
    elif row.kind == "animated GIF":
        frames = [image.quantize(32), image.transpose(Image.Transpose.ROTATE_90).quantize(32)]
        row.image, row.form = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=200), "gif"
    elif row.kind == "RGBA PNG":
        image.putalpha(dice.randint(120, 255))
        row.image, row.form = encoded(image, "PNG"), "png"
    elif row.kind == "16-bit PNG":
        gray = np.asarray(image.convert("L")).astype(np.uint16) * 257
        row.image, row.form = encoded(Image.fromarray(gray), "PNG"), "png"
    elif row.kind == "WebP":
        row.image, row.form = encoded(image, "WEBP", quality=85), "webp"
    elif row.kind == "EXIF rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        row.image = encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())


def make_rows(rows: int, seed: int) -> list[Row]:
    """Every row, duplicates pointing back at earlier ones."""
    made: list[Row] = []
    for n, kind in enumerate(kinds(rows, seed)):
        row = make_row(kind, n, seed)
        earlier = made[(n * 7) % len(made)] if made else row
        if kind == "exact duplicate":
            row.text, row.image, row.form, row.matches = earlier.text, earlier.image, earlier.form, earlier.matches
            row.width, row.height = earlier.width, earlier.height
        elif kind == "same image, other caption":
            row.image, row.form, row.matches = earlier.image, earlier.form, False
            row.width, row.height = earlier.width, earlier.height
        elif kind == "duplicate uid":
            row.uid, row.text, row.image, row.form = earlier.uid, earlier.text, earlier.image, earlier.form
            row.width, row.height, row.matches = earlier.width, earlier.height, earlier.matches
        made.append(row)
    return made


def write_tars(rows: list[Row], folder: Path, shards: int) -> None:
    """WebDataset: {key}.jpg (or png, gif, webp), {key}.json, {key}.txt."""
    folder.mkdir(parents=True)
    per = -(-len(rows) // shards)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:08d}.tar", "w", format=tarfile.USTAR_FORMAT) as file:
            for i, row in enumerate(rows[shard * per : (shard + 1) * per]):
                key = f"{shard:04d}{i:05d}"
                about = {"uid": row.uid, "original_width": row.width, "original_height": row.height}
                members = ((row.form, row.image), ("json", json.dumps(about).encode()), ("txt", row.text))
                for ext, data in members:
                    if data is not None:
                        info = tarfile.TarInfo(f"{key}.{ext}")
                        info.size = len(data)
                        file.addfile(info, io.BytesIO(data))


def write_parquet(rows: list[Row], folder: Path, shards: int) -> None:
    """The same rows as Parquet, image bytes in a column. A string column can hold invalid UTF-8, as crawls do."""
    folder.mkdir(parents=True)
    per = -(-len(rows) // shards)
    for shard in range(shards):
        part = rows[shard * per : (shard + 1) * per]
        texts = pa.array([row.text for row in part], pa.binary())
        table = pa.table(
            {
                "uid": pa.array([row.uid for row in part], pa.string()),
                "text": pa.Array.from_buffers(pa.string(), len(texts), texts.buffers()),
                "image": pa.array([row.image for row in part], pa.binary()),
                "original_width": pa.array([row.width for row in part], pa.int64()),
                "original_height": pa.array([row.height for row in part], pa.int64()),
            }
        )
        pq.write_table(table, folder / f"part-{shard:05d}.parquet", row_group_size=200)


def write_metadata(rows: list[Row], folder: Path, shards: int) -> None:
    """DataComp's metadata: no images, two stored similarity scores."""
    folder.mkdir(parents=True)
    per = -(-len(rows) // shards)
    for shard in range(shards):
        part = rows[shard * per : (shard + 1) * per]
        texts = [None if row.text is None else row.text.decode("utf-8", "replace") for row in part]
        scores = pa.array([row.clip for row in part], pa.float32())
        table = pa.table(
            {
                "uid": pa.array([row.uid for row in part], pa.string()),
                "url": [f"https://images.example/{row.uid}.{row.form}" for row in part],
                "text": pa.array(texts, pa.string()),
                "original_width": pa.array([row.width for row in part], pa.int64()),
                "original_height": pa.array([row.height for row in part], pa.int64()),
                "clip_b32_similarity_score": scores,
                "clip_l14_similarity_score": pa.array(np.asarray(scores) - np.float32(0.03)),
            }
        )
        pq.write_table(table, folder / f"{shard:08d}.parquet")


def make_pool(out: Path, rows: int, seed: int, shards: int) -> list[Row]:
    """Makes the pool in a folder beside `out` and renames it when it is whole."""
    if out.exists() and not (out / "truth.parquet").exists() and any(out.iterdir()):
        raise SystemExit(f"{out} holds something else than an earlier demo pool: name another folder")
    half = out.with_name(out.name + ".unfinished")
    shutil.rmtree(half, ignore_errors=True)
    made = make_rows(rows, seed)
    write_tars(made, half / "webdataset", shards)
    write_parquet(made, half / "parquet", shards)
    write_metadata(made, half / "metadata", shards)
    truth = {row.uid: row.matches for row in made}
    pq.write_table(pa.table({"uid": list(truth), "matches": list(truth.values())}), half / "truth.parquet")
    shutil.rmtree(out, ignore_errors=True)
    half.rename(out)
    return made


def main() -> None:
    """Makes the pool and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to make; an earlier one is replaced")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int, default=8)
    given = parser.parse_args()
    if given.rows < 2 * len(KINDS) or not 1 <= given.shards <= given.rows:
        parser.error(f"at least {2 * len(KINDS)} rows, and one to as many shards")
    made = make_pool(given.out, given.rows, given.seed, given.shards)
    for kind, count in collections.Counter(row.kind for row in made).most_common():
        print(f"{count:>6}  {kind}")
    print(f"{len(made):>6}  rows in {given.shards} shards: {given.out}")


if __name__ == "__main__":
    main()
