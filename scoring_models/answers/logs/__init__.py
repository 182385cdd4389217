"""Logs of evaluation tools as tables of answers: one module a tool, `lm_eval`, `lmms_eval` and `vlmevalkit`.

Each has two functions with the same arguments, `path` and the other fields of `folders.Wanted`:

* `files(...) -> Mapping[str, Path]`: a name that does not depend on the machine -> each file that is read;
* `read(...) -> pa.Table`: a line for each answer, with the columns of `rows.SCHEMA`.

`path` is the folder of answers that were given to the items as they are, `blind` that of answers without the image: no
log says which it was. Hashes in logs are never looked at: lm-eval's change from run to run where a document holds an
image, and lmms-eval's are the same for every document.
"""
