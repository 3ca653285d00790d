import hashlib
import uuid

import pytest

from pipeline.store.folder_store import FolderStore
from pipeline.store.scratch import IN_USE
from pipeline.store.storage import Storage


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    url = str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run"
    made = Storage(url)
    yield made
    made.close()


def scratch_names(storage):
    return sorted(path.name for path in storage.scratch().iterdir() if path.name != IN_USE)


def test_a_folder_store_keeps_files_from_call_to_call(storage):
    store = FolderStore(storage, "stages/read-1/store")
    assert content_of(store, "a.tar") is None
    for content in (b"old", b"new"):
        put(store, "a.tar", content)
        assert content_of(store, "a.tar") == content
    store.remove("a.tar")
    store.remove("a.tar")
    assert content_of(store, "a.tar") is None


def test_a_folder_store_leaves_no_copy_on_this_machine(storage):
    store = FolderStore(storage, "stages/read-1/store")
    put(store, "a.tar", b"tar").unlink(missing_ok=True)
    storage.write_bytes("stages/read-1/store/a.tar", b"tar")
    assert content_of(store, "a.tar") == b"tar"
    with pytest.raises(RuntimeError, match="torn"), store.fetch("a.tar"):
        raise RuntimeError("torn")
    assert scratch_names(storage) == []
    assert content_of(store, "a.tar") == b"tar"


def test_file_put_into_a_folder_store_is_not_fetched_back(storage, monkeypatch):
    store = FolderStore(storage, "stages/read-1/store")
    monkeypatch.setattr(storage.fs, "get_file", None)
    assert put(store, "a.tar", b"tar").read_bytes() == b"tar"


def test_a_folder_store_knows_which_files_the_record_lists(storage):
    store = FolderStore(storage, "stages/read-1/store")
    for name in ("a.tar", "b.tar"):
        local = store.scratch() / "made"
        local.write_bytes(b"tar")
        assert store.keep(local, name) == hashlib.sha256(b"tar").hexdigest()
    store.remove("b.tar")
    assert {name: entry.bytes for name, entry in store.kept.items()} == {"a.tar": 3}


def put(store, name, content):
    local = store.scratch() / "made"
    local.write_bytes(content)
    return store.put(local, name)


def content_of(store, name):
    with store.fetch(name) as path:
        return None if path is None else path.read_bytes()
