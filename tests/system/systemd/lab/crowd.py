"""Many sessions that talk in a ring, and command lines that send, while a scenario disturbs them.

What was acknowledged must arrive: at its receiver, once, in the sender's order; and no call may
fail. Each session sends to the next one only, so the messages that a session is shown must be
exactly those that the session before it was told to be accepted.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from types import TracebackType

from harness.report import Report

from .machine import PROGRAM, aside
from .session import CallFailed, Session

# How long the last messages may take to arrive.
ARRIVAL = 45.0


class Sender:
    """The messages of one sender that were acknowledged."""

    def __init__(self, receiver: Session):
        self.receiver = receiver
        self.accepted: list[tuple[str, str]] = []


class Crowd:
    """A ring of sessions. With `command_lines`, so many loops of `claude-peers send` as well."""

    def __init__(self, report: Report, sessions: list[Session], command_lines: int, pause: float):
        self.report = report
        self.sessions = sessions
        self.pause = pause
        self.failures: list[str] = []
        self.slowest = 0.0
        self.calls = 0
        self._stop = asyncio.Event()
        ring = zip(sessions, sessions[1:] + sessions[:1])
        self._ring = [(session, Sender(receiver)) for session, receiver in ring]
        self._callers = [Sender(sessions[n % len(sessions)]) for n in range(command_lines)]
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def gather(
        cls, report: Report, count: int, command_lines: int = 2, pause: float = 0.05, **options: str
    ) -> "Crowd":
        """Starts the sessions, and waits until all are live and may be pushed to."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        gate = asyncio.Semaphore(16)

        async def one(number: int) -> Session:
            async with gate:
                session = await Session.start("s%03d" % number, **options)
                await session.me()
                return session

        sessions = await asyncio.gather(*(one(number) for number in range(count)))
        # Pushes begin one second after the handshake.
        await asyncio.sleep(1.1)
        return cls(report, list(sessions), command_lines, pause)

    async def __aenter__(self) -> "Crowd":
        """All sessions begin to send."""
        self._stop.clear()
        self._tasks = [asyncio.create_task(self._talk(*pair)) for pair in self._ring]
        self._tasks += [
            asyncio.create_task(self._command_line(n, caller)) for n, caller in enumerate(self._callers)
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All sessions stop sending."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def nothing_is_lost(self, what: str) -> None:
        """Checks all that was accepted so far, and that no call failed."""
        senders = [sender for _, sender in self._ring] + self._callers
        end = time.monotonic() + ARRIVAL
        expected = sum(len(sender.accepted) for sender in senders)
        while sum(len(s.pushes) for s in self.sessions) < expected and time.monotonic() < end:
            await asyncio.sleep(0.05)
        # A message too many would come now.
        await asyncio.sleep(0.3)
        self.report.check("%s: no call fails" % what, not self.failures, "\n".join(self.failures[:20]))
        problems = [problem for sender in senders if (problem := self._compare(sender))]
        arrived = sum(len(session.pushes) for session in self.sessions)
        if arrived != expected:
            problems.append("%d messages were accepted, %d arrived" % (expected, arrived))
        if any(push.repeat for session in self.sessions for push in session.pushes):
            problems.append("a message is marked as repeated to a session that never had it")
        self.report.check(
            "%s: %d accepted messages arrive once and in order (%d calls, the slowest took %.1f s)"
            % (what, expected, self.calls, self.slowest),
            expected and not problems,
            "\n".join(problems[:20]),
        )
        self.failures.clear()
        self.slowest = 0.0

    async def leave(self) -> None:
        """All sessions end as their clients do."""
        codes = await asyncio.gather(*(session.end() for session in self.sessions))
        self.report.check("all servers run to the end and exit with 0", not any(codes), codes)

    async def _talk(self, session: Session, sender: Sender) -> None:
        await asyncio.sleep(random.uniform(0, self.pause))
        while not self._stop.is_set():
            text = "%s says %d" % (session.name, len(sender.accepted))
            since = time.monotonic()
            try:
                sender.accepted.append((await session.send(sender.receiver.name, text), text))
            except CallFailed as error:
                self.failures.append(str(error))
            self._count(since)
            await self._rest()

    async def _command_line(self, number: int, caller: Sender) -> None:
        while not self._stop.is_set():
            text = "line %d says %d" % (number, len(caller.accepted))
            since = time.monotonic()
            done = await aside(PROGRAM, "send", "--json", caller.receiver.name, text)
            if done.ok:
                caller.accepted.append((json.loads(done.out)["id"], text))
            else:
                self.failures.append(str(done))
            self._count(since)
            listed = await aside(PROGRAM, "peers")
            if not listed.ok:
                self.failures.append(str(listed))
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(self.pause * random.uniform(0.5, 1.5))

    def _count(self, since: float) -> None:
        self.calls += 1
        self.slowest = max(self.slowest, time.monotonic() - since)

    def _compare(self, sender: Sender) -> str | None:
        accepted = [pair for pair in sender.accepted]
        # All texts of one sender begin alike, and no others do.
        if not accepted:
            return "a sender to %s had nothing accepted" % sender.receiver.name
        begin = accepted[0][1].rsplit(" ", 1)[0] + " "
        shown = [(push.id, push.text) for push in sender.receiver.pushes if push.text.startswith(begin)]
        if shown == accepted:
            return None
        missing = [pair for pair in accepted if pair not in shown]
        return "to %s: %d accepted, %d shown, missing %s" % (
            sender.receiver.name, len(accepted), len(shown), missing[:5],
        )
