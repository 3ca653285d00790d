import json

from pipeline.store.events import EventLog
from pipeline.store.storage import Storage


def test_events_are_json_lines_readable_during_the_run(tmp_path):
    storage = Storage(str(tmp_path))
    with EventLog(storage) as log:
        log.write("done", {"stage": "upper", "path": tmp_path})
        [name] = storage.sizes("run")
        [line] = storage.read_bytes(f"run/{name}").splitlines()
    event = json.loads(line)
    assert event.pop("time") > 0
    assert event == {"event": "done", "stage": "upper", "path": str(tmp_path)}


def test_events_of_a_remote_run_are_there_when_it_ends(tmp_path):
    storage = Storage(f"memory://{tmp_path.name}/events")
    with EventLog(storage) as log:
        log.write("done", {})
    [name] = storage.sizes("run")
    assert json.loads(storage.read_bytes(f"run/{name}"))["event"] == "done"
    storage.close()
