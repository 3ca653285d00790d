"""Answers written by hand with their labels, and a server on the loopback that gives them as a language model would."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FROM_FILE = {"edits_per_caption": 9, "num_instructions": 400, "num_examples": 10, "max_retries": 2}
"""Settings of `write_edits` for answers of a file: each type once for each caption, and prompts that show all examples.

So a copy of any example is one of what was shown.
"""
_ASKED = re.compile(r"Caption: (?P<caption>.*)\nEdit type: (?P<edit_type>.*)\nEdit as JSON: *\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledAnswer:
    """One answer for a caption and a type of edit, with the verdict of the person who wrote or read it."""

    caption: str
    edit_type: str
    text: str
    fault: str | None
    """The worst that is wrong with it, None where it is good."""
    undoes: bool
    """Whether the reverse instruction undoes what the instruction asks for."""

    @property
    def is_good(self) -> bool:
        """True for an answer that every check should let pass."""
        return self.fault is None


def read_labels(path: Path) -> list[LabelledAnswer]:
    """All answers of a file, in its order, none where there is no file.

    An answer is an object, or text where it is none. An answer without `undoes` does, but for the fault of that name.
    """
    found = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        answer, fault = row["answer"], row["fault"]
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        found.append(
            LabelledAnswer(
                caption=row["caption"],
                edit_type=row["edit_type"],
                text=text,
                fault=fault,
                undoes=row.get("undoes", fault != "reverse_does_not_undo"),
            )
        )
    return found


def asked_for(prompt: str) -> tuple[str, str]:
    """(caption, type of edit) that the last lines of a prompt ask for. Raises ValueError for another prompt."""
    found = _ASKED.search(prompt)
    if found is None:
        raise ValueError(f"prompt ends with {prompt[-120:]!r}, expected caption, type of edit and 'Edit as JSON: '")
    return found["caption"], found["edit_type"]


class AnswersInTurn:
    """Gives the answers of a caption and a type one after the other, then the last one again and again."""

    def __init__(self, answers: Sequence[LabelledAnswer]) -> None:
        """Keep the answers by caption and type."""
        self._answers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for answer in answers:
            self._answers[answer.caption, answer.edit_type].append(answer.text)
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def next(self, prompt: str) -> str:
        """The answer to a prompt, empty where the file has none."""
        asked = asked_for(prompt)
        with self._lock:
            texts, turn = self._answers.get(asked, [""]), self._asked[asked]
            self._asked[asked] += 1
        return texts[min(turn, len(texts) - 1)]


@contextmanager
def answer_server(answers: Sequence[LabelledAnswer]) -> Iterator[str]:
    """A server with OpenAI's chat interface on the loopback, for the block. Yields the model id that asks it."""
    in_turn = AnswersInTurn(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = in_turn.next(body["messages"][-1]["content"])
            message = {"message": {"role": "assistant", "content": text}}
            payload = json.dumps({"choices": [message]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"openai:answers@http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
