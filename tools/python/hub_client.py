#!/usr/bin/env python3
"""An unmodified `huggingface_hub` against a server with a hub.

    hub_client.py URL OWNER/NAME OLD_VERSION FOLDER

FOLDER holds the files of the model's latest version as they were published; OLD_VERSION is an older one. Pulls file by file and
as a snapshot, lists, asks for what is not there, and compares every byte.
"""

import argparse
import hashlib
import os
import pathlib
import sys
import tempfile


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("old")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    home = tempfile.mkdtemp(prefix="hub-client-")
    # Read when the package is imported.
    os.environ.update(HF_ENDPOINT=arguments.url, HF_HOME=home, HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    import huggingface_hub
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    want = {}
    for path in arguments.folder.rglob("*"):
        if path.is_file():
            want[path.relative_to(arguments.folder).as_posix()] = path.read_bytes()
    assert want, "an empty folder"
    api, model = HfApi(), arguments.model

    names = api.list_repo_files(model)
    assert sorted(names) == sorted(want), (names, sorted(want))
    info = api.model_info(model, files_metadata=True)
    assert info.id == model and len(info.sha) == 40, info
    for sibling in info.siblings:
        data = want[sibling.rfilename]
        assert sibling.size == len(data), sibling
        assert sibling.lfs.sha256 == hashlib.sha256(data).hexdigest(), sibling
    assert any(found.id == model for found in api.list_models(search=model.split("/")[1]))

    for name, data in want.items():
        path = hf_hub_download(model, name)
        assert pathlib.Path(path).read_bytes() == data, name
        assert info.sha in path, "the cache knows the version by its commit"
    snapshot = pathlib.Path(snapshot_download(model, cache_dir=tempfile.mkdtemp(prefix="hub-snapshot-")))
    for name, data in want.items():
        assert (snapshot / name).read_bytes() == data, name
    some = pathlib.Path(
        snapshot_download(model, allow_patterns=["*.md"], local_dir=tempfile.mkdtemp(prefix="hub-some-"))
    )
    assert [p.name for p in some.iterdir() if p.is_file()] == ["README.md"], list(some.iterdir())

    # An older version by its name and by its commit, which stay what they were.
    old = api.model_info(model, revision=arguments.old)
    assert old.sha != info.sha
    by_name = pathlib.Path(hf_hub_download(model, "README.md", revision=arguments.old)).read_bytes()
    by_commit = pathlib.Path(hf_hub_download(model, "README.md", revision=old.sha)).read_bytes()
    assert by_name == by_commit != want["README.md"]

    # A download that broke off goes on where it ended.
    large = max(want, key=lambda name: len(want[name]))
    import urllib.request

    request = urllib.request.Request(
        f"{arguments.url}/{model}/resolve/main/{large}", headers={"Range": f"bytes={len(want[large]) // 2}-"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206 and answer.read() == want[large][len(want[large]) // 2 :]

    for error, ask in [
        (EntryNotFoundError, lambda: hf_hub_download(model, "absent.bin")),
        (RevisionNotFoundError, lambda: hf_hub_download(model, "README.md", revision="absent")),
        (RepositoryNotFoundError, lambda: api.model_info(model + "-absent")),
    ]:
        try:
            ask()
        except error:
            continue
        sys.exit(f"expected {error.__name__}")
    print(f"ci: huggingface_hub {huggingface_hub.__version__}: {len(want)} files pulled and compared")


if __name__ == "__main__":
    main()
