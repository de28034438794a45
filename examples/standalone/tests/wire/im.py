"""A client of the wire protocol in plain Python. It shares no code with the crates: what it knows is docs/protocol.md."""

import os
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections import namedtuple

NOOP, SIGNALLING, AUTH, LOGOUT, KICKOUT = 6, 243, 1001, 1002, 1003
C2C_SEND, C2C_PUSH, PULL, PUSH_ACK, SYNC = 1006, 1007, 1010, 1013, 1014
ROOM_JOIN, ROOM_LEAVE, ROOM_SEND, ROOM_PUSH = 1015, 1016, 1017, 1018
SEQ_NOOP, SEQ_IDENTIFY, SEQ_SIGNALLING = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
UNDECODABLE = b"\x0a\xff"  # field 1 promises more bytes than there are

Frame = namedtuple("Frame", "version cmd seq body")


# --- protobuf, by hand ---------------------------------------------------------------------------------------------


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def proto(fields):
    """The body with these fields: {number: int, str, bytes, or a list of them}. Defaults are left out, as proto3 does."""
    out = b""
    for number, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value) if value else b""
            else:
                data = value.encode() if isinstance(value, str) else value
                out += varint(number << 3 | 2) + varint(len(data)) + data if data else b""
    return out


def fields(body):
    """The fields of a body: {number: value}, where value is an int, bytes, or a list if the field comes more than once."""
    found, at = {}, 0

    def read_varint(at):
        number = shift = 0
        while True:
            byte = body[at]
            number |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return number - (1 << 64) if number >> 63 else number, at

    while at < len(body):
        key, at = read_varint(at)
        if key & 7 == 0:
            value, at = read_varint(at)
        elif key & 7 == 2:
            size, at = read_varint(at)
            value, at = body[at : at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7} is not used by this protocol")
        found.setdefault(key >> 3, []).append(value)
    return {number: values[0] if len(values) == 1 else values for number, values in found.items()}


def repeated(found, number):
    values = found.get(number, [])
    return values if isinstance(values, list) else [values]


# --- frames --------------------------------------------------------------------------------------------------------


def frame(cmd, seq, body=b"", version=200, options=b""):
    return struct.pack(">5I", 20 + len(options), version, cmd, seq, len(body)) + options + body


class Link:
    """One connection, not logged in."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seq, self.pushes = 0, []

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, cmd, body=b"", seq=None, version=200):
        """Sends a command, a dict or bytes, and returns its sequence number."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        self.raw(frame(cmd, seq, proto(body) if isinstance(body, dict) else body, version))
        return seq

    def bytes(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                assert not data, f"the link closed inside a frame, after {data!r}"
                return None
            data += more
        return data

    def frame(self, timeout=10):
        """The next frame, or None at the end of the stream."""
        self.socket.settimeout(timeout)
        header = self.bytes(20)
        if header is None:
            return None
        head, version, cmd, seq, size = struct.unpack(">5I", header)
        assert head == 20, f"the server sends headers of 20 bytes, not {head}"
        return Frame(version, cmd, seq, self.bytes(size) if size else b"")

    def reply(self, cmd, seq, timeout=10):
        """The reply to a request; pushes that come before it are kept in `pushes`."""
        while True:
            got = self.frame(timeout)
            assert got is not None, f"the link closed before the reply to {cmd}"
            if (got.cmd, got.seq) == (cmd, seq):
                return got
            assert got.seq == 0, f"not asked for: {got}"
            self.pushes.append(got)

    def call(self, cmd, body=b"", **how):
        """Sends a command and returns its reply's fields."""
        seq = self.send(cmd, body, **how)
        return fields(self.reply(cmd, seq).body)

    def push(self, timeout=10):
        return self.pushes.pop(0) if self.pushes else self.frame(timeout)

    def is_silent(self, seconds=0.3):
        """Nothing arrives, not even an end."""
        return not self.pushes and not select.select([self.socket], [], [], seconds)[0]

    def rest(self, timeout=10):
        """All bytes until the server closes."""
        self.socket.settimeout(timeout)
        data = b""
        try:
            while more := self.socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def is_closed_without_a_word(self, timeout=10):
        return self.rest(timeout) == b""

    def close(self):
        self.socket.close()


# --- the server ----------------------------------------------------------------------------------------------------


class Server:
    """An im-standalone of its own, on a port and a data directory of its own."""

    def __init__(self, *flags):
        self.program = os.environ["IM_STANDALONE"]
        self.folder = tempfile.TemporaryDirectory(prefix="im-wire-")
        self.log = open(os.path.join(self.folder.name, "log"), "wb")
        self.data = ["--data", os.path.join(self.folder.name, "data")]
        kind = os.environ.get("IM_STORE_KIND", "log")
        store = ["--store", f"{kind}:{os.path.join(self.folder.name, 'data', 'kept')}"]
        self.process = subprocess.Popen(
            [self.program, *self.data, *store, "--tcp", "127.0.0.1:0", *flags], stdout=subprocess.PIPE, stderr=self.log
        )
        ready = self.process.stdout.readline().decode()
        assert ready.startswith("ready tcp=127.0.0.1:"), f"said {ready!r}; log: {self.logged()}"
        self.port = int(ready.split()[1].rpartition(":")[2])
        self.tokens = {}

    def logged(self):
        with open(self.log.name, errors="replace") as log:
            return log.read()[-4000:]

    def token(self, user, ttl=None):
        if ttl is None and user in self.tokens:
            return self.tokens[user]
        extra = ["--ttl", str(ttl)] if ttl else []
        made = subprocess.run(
            [self.program, "token", *self.data, *extra, user], stdout=subprocess.PIPE, stderr=self.log, check=True
        ).stdout.decode()
        assert made.endswith("\n") and made.count("\n") == 1, made
        if ttl is None:
            self.tokens[user] = made.strip()
        return made.strip()

    def link(self):
        return Link(self.port)

    def auth_body(self, user, token=None, device="d1", device_type=0, capabilities=(), heartbeat=0):
        return {
            1: self.token(user) if token is None else token,
            2: user,
            3: int(time.time() * 1000),
            10: device,
            11: device_type,
            12: heartbeat,
            13: list(capabilities),
        }

    def login(self, user, **how):
        """A link that is logged in; what the server answered is in `granted`."""
        body = self.auth_body(user, **how)  # made first, because the link's time to log in runs
        link = self.link()
        link.granted = link.call(AUTH, body)
        assert link.granted.get(1, 0) == 0, f"refused: {link.granted}"
        return link

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            line = next(line for line in status if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def stop(self):
        """Asks it to end and returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()
            self.log.close()
            self.folder.cleanup()
        return code
