#!/usr/bin/env python3
"""A radio plugin for lpwad in one file, with the standard library only: an example of the protocol.

The protocol is docs/plugin-protocol.md. This "radio" hears frames from its settings, a file or a FIFO, and pretends
to send: it answers a `tx` with `sent` when its time has come, and puts nothing on air.
"""

import collections
import json
import os
import select
import stat
import sys
import time

VERSION = "1.0.0"
MAX_LINE = 64 * 1024
MAX_WAITING = 16  # frames that wait for their time to be sent
DATA_RATE = "SF7BW125"


class Stop(Exception):
    """The end: the daemon says `stop`, or is gone."""


class Fault(Exception):
    """Something is wrong that only a person can mend; the text says what."""


def send(name, fields):
    """One message is one line, and it must leave at once."""
    sys.stdout.write(json.dumps({name: fields}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


class Lines:
    """Whole lines from a descriptor; a line over 64 KiB is dropped."""

    def __init__(self, fd):
        self.fd = fd
        self.partial = b""
        self.skipping = False

    def read(self):
        """The lines that are there now, or None at the end of the input."""
        data = os.read(self.fd, 8192)
        if not data:
            return None
        *whole, rest = (self.partial + data).split(b"\n")
        if whole and self.skipping:
            whole, self.skipping = whole[1:], False
        if self.skipping or len(rest) > MAX_LINE:
            rest, self.skipping = b"", True
        self.partial = rest
        return [line.strip() for line in whole if line.strip()]


class Clock:
    """The radio's clock: microseconds in 32 bits; it starts anew every 71.6 minutes."""

    def __init__(self):
        self.start = time.monotonic()

    def at_us(self):
        return int((time.monotonic() - self.start) * 1e6) & 0xFFFFFFFF

    def seconds_until(self, at_us):
        """Time until a stamp, which is less than half a turn away; negative if it is over."""
        distance = (at_us - self.at_us()) & 0xFFFFFFFF
        return (distance - (1 << 32) if distance >= 1 << 31 else distance) / 1e6


def frame(text, where):
    """A frame of 1 to 255 bytes from its hex digits."""
    try:
        data = bytes.fromhex(text)
    except (TypeError, ValueError):
        raise Fault("%s: not hex digits" % where) from None
    if not 1 <= len(data) <= 255:
        raise Fault("%s: a frame has 1 to 255 bytes" % where)
    return data


class Radio:
    def __init__(self, configure):
        settings = configure.get("settings", {})
        self.clock = Clock()
        channels = configure.get("channels") or [{"freq_hz": 868100000}]
        self.freq_hz = channels[0]["freq_hz"]
        self.status_period_s = float(configure.get("status_period_s", 10))
        self.interval_s = settings.get("interval_s", 1)
        if not isinstance(self.interval_s, (int, float)) or not 0.01 <= self.interval_s <= 3600:
            raise Fault("settings: interval_s must be 0.01 to 3600")
        frames = settings.get("frames", [])
        if not isinstance(frames, list):
            raise Fault("settings: frames must be a list of hex strings")
        self.to_hear = collections.deque(frame(text, "settings: frames") for text in frames)
        self.fifo = None
        if "file" in settings:
            self.open(settings["file"])
        self.to_send = []  # (at_us, id, margin_ms)
        self.counters = {"rx": 0, "tx": 0, "bad_lines": 0}
        now = time.monotonic()
        self.hear_at, self.status_at = now + self.interval_s, now + self.status_period_s

    def open(self, path):
        try:
            if stat.S_ISFIFO(os.stat(path).st_mode):
                # Read and write: then there is no end of file between one writer and the next.
                self.fifo = Lines(os.open(path, os.O_RDWR | os.O_NONBLOCK))
                return
            with open(path, encoding="ascii") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeError) as error:
            raise Fault("settings: file: %s" % error) from None
        self.to_hear.extend(frame(line, "settings: file") for line in lines if line)

    def ready(self):
        send(
            "ready",
            {
                "max_dbm_eirp": 14.0,
                "clock": "us32",
                "freq_ranges_hz": [[863000000, 870000000]],
                "channels": 8,
                "timed_tx": True,
                "inverted_iq": True,
                "min_lead_ms": 5,
                "model": "example",
            },
        )

    def hear(self, data):
        self.counters["rx"] += 1
        fields = {"at_us": self.clock.at_us(), "freq_hz": self.freq_hz, "dr": DATA_RATE}
        send("rx", {**fields, "rssi_dbm": -97, "snr_db": 5.5, "data": data.hex()})

    def transmit(self, tx):
        seconds = self.clock.seconds_until(tx["at_us"])
        margin_ms = round(seconds * 1000)
        if seconds < 0:
            send("txdone", {"id": tx["id"], "status": "late", "tx_margin_ms": margin_ms})
        elif len(self.to_send) >= MAX_WAITING:
            send("txdone", {"id": tx["id"], "status": "busy"})
        else:
            self.to_send.append((tx["at_us"], tx["id"], margin_ms))

    def wait_s(self):
        """How long nothing has to be done."""
        now = time.monotonic()
        waits = [self.status_at - now] + [self.clock.seconds_until(at_us) for at_us, _, _ in self.to_send]
        if self.to_hear:
            waits.append(self.hear_at - now)
        return max(0.0, min(waits))

    def do_what_is_due(self):
        now = time.monotonic()
        due = [tx for tx in self.to_send if self.clock.seconds_until(tx[0]) <= 0]
        self.to_send = [tx for tx in self.to_send if tx not in due]
        for _, tx_id, margin_ms in due:
            self.counters["tx"] += 1
            send("txdone", {"id": tx_id, "status": "sent", "tx_margin_ms": margin_ms})
        if self.to_hear and now >= self.hear_at:
            self.hear_at = now + self.interval_s
            self.hear(self.to_hear.popleft())
        if now >= self.status_at:
            self.status_at = now + self.status_period_s
            send("status", {"counters": self.counters})


def message(line):
    """Name and fields of a message; None if the line is none."""
    try:
        ((name, fields),) = json.loads(line).items()
    except (ValueError, AttributeError, RecursionError):
        return None
    return (name, fields) if isinstance(fields, dict) else None


def greet(hello):
    about = {"protocol": "lpwad-link", "version": VERSION, "features": []}
    send("hello", {**about, "plugin": "example-python", "kind": "lora-phy"})
    protocol, version = hello.get("protocol"), str(hello.get("version"))
    if protocol != "lpwad-link" or version.split(".")[0] != VERSION.split(".")[0]:
        raise Fault("the daemon speaks %s %s, this plugin lpwad-link %s" % (protocol, version, VERSION))


def serve():
    daemon, radio = Lines(sys.stdin.fileno()), None
    while True:
        sources = [daemon.fd] + ([radio.fifo.fd] if radio and radio.fifo else [])
        readable, _, _ = select.select(sources, [], [], radio.wait_s() if radio else None)
        if daemon.fd in readable:
            lines = daemon.read()
            if lines is None:
                raise Stop
            for name, fields in filter(None, map(message, lines)):
                if name == "hello":
                    greet(fields)
                elif name == "configure" and radio is None:
                    radio = Radio(fields)
                    radio.ready()
                elif name == "tx" and radio:
                    radio.transmit(fields)
                elif name == "stop":
                    raise Stop
                # Messages that this version does not know are ignored.
        if radio and radio.fifo and radio.fifo.fd in readable:
            for line in radio.fifo.read() or []:
                try:
                    radio.hear(frame(line.decode("ascii", "replace"), "file"))
                except Fault:
                    radio.counters["bad_lines"] += 1
        if radio:
            radio.do_what_is_due()


def main():
    try:
        serve()
    except (Stop, BrokenPipeError, KeyboardInterrupt):
        return 0
    except Fault as fault:
        send("status", {"fault": str(fault)})
        return 1


if __name__ == "__main__":
    sys.exit(main())
