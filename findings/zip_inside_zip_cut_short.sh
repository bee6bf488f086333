#!/usr/bin/env bash
# CPython 3.11.7 (zipfile): an archive that is cut short and has another archive inside is opened as
# the one inside, without a word, and testzip() finds nothing wrong. torch.export writes such files:
# a .pt2 has the archives of its tensors in it. Guess: BadZipFile, since the directory is gone.
#
# Output seen:
#   whole: ['first.bin', 'model.zip']
#   40 bytes less: ['inside.txt'] testzip: None
set -euo pipefail
python3 - <<'PY'
import io
import zipfile


def archive(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return data.getvalue()


whole = archive(first_bin=b"1" * 100, model_zip=archive(inside_txt=b"x" * 10))
print("whole:", zipfile.ZipFile(io.BytesIO(whole)).namelist())
try:
    cut = zipfile.ZipFile(io.BytesIO(whole[:-40]))
except zipfile.BadZipFile:
    raise SystemExit("it is refused now") from None
print("40 bytes less:", cut.namelist(), "testzip:", cut.testzip())
assert cut.namelist() == ["inside.txt"] and cut.testzip() is None
PY
