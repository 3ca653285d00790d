"""The records of steps in a run folder, as tests count, read, change and remove them. `out` is a path or a URL."""

import json

from pipeline.store.record_log import RECORDS, read_lines
from pipeline.store.run_folder import STAGES
from pipeline.store.storage import Storage


def stage_folders(out, stage="*"):
    """Folders of the results of a stage, or of all, below the run folder."""
    names = Storage(str(out)).folders(STAGES)
    return [f"{STAGES}/{name}" for name in names if stage in ("*", name.rpartition("-")[0])]


def records(out, stage="*"):
    """(stage, shard) -> record, for all lines that count. A stage with results of two settings is refused."""
    found = {}
    for folder in stage_folders(out, stage):
        name = folder.removeprefix(f"{STAGES}/").rpartition("-")[0]
        for shard, line in read_lines(Storage(str(out)), folder).items():
            assert (name, shard) not in found, f"two results of stage {name}"
            found[name, shard] = json.loads(line)
    return found


def num_records(out, stage="*"):
    """Number of records in all stage folders, or in those of one stage. A build may write more of them meanwhile."""
    storage = Storage(str(out))
    return sum(len(read_lines(storage, folder)) for folder in stage_folders(out, stage))


def record_line(out, stage_folder, shard):
    """The line of one record, without its end."""
    return read_lines(Storage(str(out)), stage_folder)[shard]


def put_line(out, stage_folder, shard, line):
    """Replace the line of one record by any bytes, or remove it with None. All lines are in one file then."""
    storage = Storage(str(out))
    lines = read_lines(storage, stage_folder)
    assert shard in lines, f"no record of {shard} in {stage_folder}: {sorted(lines)}"
    lines[shard] = line
    content = b"".join(lines[name] + b"\n" for name in sorted(lines) if lines[name] is not None)
    storage.write_bytes(f"{stage_folder}/{RECORDS}", content)
    for name in set(storage.sizes(stage_folder)) - {RECORDS}:
        if name.startswith("records-"):
            storage.remove(f"{stage_folder}/{name}")
    storage.close()


def edit_record(out, stage_folder, shard, **changes):
    """Change fields of one record."""
    changed = {**json.loads(record_line(out, stage_folder, shard)), **changes}
    put_line(out, stage_folder, shard, json.dumps(changed).encode())


def remove_record(out, stage_folder, shard):
    """Remove one record, so that its step is not done."""
    put_line(out, stage_folder, shard, None)
