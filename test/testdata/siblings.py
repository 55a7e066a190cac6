"""What two containers of a sandbox find of each other in a volume.

"siblings.py serve SOCKET" does in one container what is asked for through
SOCKET; "siblings.py check SOCKET DIR..." is the other one, and says what is
not as it is for two processes of one Linux in each DIR.
"""
import array, ctypes, errno, fcntl, io, mmap, os, signal, socket, sqlite3, struct, sys, threading, time, traceback

libc = ctypes.CDLL(None, use_errno=True)
OFD_SETLK = 37


def ofd(fd, kind=fcntl.F_WRLCK, start=0, length=0):
    fcntl.fcntl(fd, OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def append(path, word, times):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for i in range(times):
        os.write(fd, b"%s %d\n" % (word.encode(), i))
    os.close(fd)


def insert(path, times):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    for i in range(times):
        db.execute("begin immediate")
        db.execute("insert into t values (?)", (i,))
        db.execute("commit")
    db.close()


def watch(path):
    fd = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(fd, path.encode(), 0xFFF) > 0
    return fd


def events(fd):
    names, b = [], os.read(fd, 65536)
    while b:
        _, mask, _, n = struct.unpack("iIII", b[:16])
        names.append((mask & 0xFFF, b[16:16 + n].rstrip(b"\0").decode()))
        b = b[16 + n:]
    return names


def busy(do):
    try:
        do()
    except OSError as e:
        return e.errno in (errno.EAGAIN, errno.EACCES)
    return False


def fails(do):
    try:
        do()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "done"


def start(do, *args):
    t = threading.Thread(target=do, args=args)
    t.start()
    return t


def serve(path):
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(8)
    print("serving", flush=True)
    names = globals()
    while True:
        conn, _ = s.accept()
        with conn:
            line = conn.makefile().readline().strip()
            try:
                try:
                    answer = repr(eval(line, names))
                except SyntaxError:
                    exec(line, names)
                    answer = "None"
                try:
                    eval(answer)
                except SyntaxError:
                    answer = "None"
            except BaseException:
                answer = "!" + traceback.format_exc().strip().splitlines()[-1]
            conn.sendall(answer.encode())


class There:
    """The other container."""

    def __init__(self, path):
        self.path = path

    def __call__(self, line, **values):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        s.sendall((line % {k: repr(v) for k, v in values.items()} + "\n").encode())
        answer = s.makefile().read()
        s.close()
        if answer.startswith("!"):
            raise RuntimeError("there: " + answer)
        return eval(answer)


def flocks(there, d):
    there("f = open(%(p)s, 'w'); fcntl.flock(f, fcntl.LOCK_EX)", p=d + "/flock")
    with open(d + "/flock") as f:
        assert busy(lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)), "granted twice"
        assert busy(lambda: fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)), "shared beside an exclusive one"
        there("fcntl.flock(f, fcntl.LOCK_SH)")
        fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        there("start(lambda: (time.sleep(.2), f.close()))")
        fcntl.flock(f, fcntl.LOCK_EX)  # once that has let go of it


def posix_locks(there, d):
    there("f = open(%(p)s, 'w+'); fcntl.lockf(f, fcntl.LOCK_EX, 10)", p=d + "/posix")
    with open(d + "/posix", "r+") as f:
        assert busy(lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 5)), "granted twice"
        fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 20)
        kind, _, first, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))
        assert (kind, first, length) == (fcntl.F_WRLCK, 0, 10), "the lock there is told as %s" % ((kind, first, length, pid),)
        assert busy(lambda: ofd(f, start=0, length=1)), "an OFD lock beside it"
        there("start(lambda: (time.sleep(.2), f.close()))")
        fcntl.lockf(f, fcntl.LOCK_EX, 1, 5)


def ofd_locks(there, d):
    there("f = open(%(p)s, 'w+'); ofd(f)", p=d + "/ofd")
    with open(d + "/ofd", "r+") as f:
        assert busy(lambda: ofd(f)), "granted twice"
        assert busy(lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)), "a lock of a process beside it"
        there("f.close()")
        ofd(f)


def databases(there, d):
    path = d + "/db"
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",), "no WAL"
    db.execute("create table t (n)")
    there("c = sqlite3.connect(%(p)s, isolation_level=None, check_same_thread=False); c.execute('begin immediate'); c.execute('insert into t values (1)'); None", p=path)
    try:
        db.execute("insert into t values (2)")
        raise AssertionError("two write at once")
    except sqlite3.OperationalError as e:
        assert "locked" in str(e), e
    count = lambda: db.execute("select count(*) from t").fetchone()[0]
    assert count() == 0, "what was not committed is seen"
    there("c.execute('commit') and None")
    assert count() == 1, "what was committed is not seen"
    there("c.close()")
    there("w = start(insert, %(p)s, 100)", p=path)
    insert(path, 100)
    there("w.join()")
    assert count() == 201, "%d rows of 201" % count()
    assert db.execute("pragma integrity_check").fetchone() == ("ok",), "the database is damaged"
    db.close()


def mappings(there, d):
    path = d + "/map"
    write(path, "." * 8192)
    there("f = open(%(p)s, 'r+b'); m = mmap.mmap(f.fileno(), 8192); m[0:3] = b'one'; None", p=path)
    with open(path, "r+b", buffering=0) as f:
        m = mmap.mmap(f.fileno(), 8192)
        assert m[0:3] == b"one", "its mapping is not seen in ours: %r" % m[0:3]
        assert os.pread(f.fileno(), 3, 0) == b"one", "its mapping is not read"
        os.pwrite(f.fileno(), b"two", 4096)
        assert there("m[4096:4099]") == b"two", "what is written is not in its mapping"
        m[5:8] = b"end"
        assert there("os.pread(f.fileno(), 3, 5)") == b"end", "our mapping is not read there"
        f.truncate(100)
        assert there("os.fstat(f.fileno()).st_size") == 100, "it is not truncated there"
        assert there("os.stat(%(p)s).st_size", p=path) == 100, "its path is not truncated there"
        there("f.truncate(4000)")
        assert os.fstat(f.fileno()).st_size == 4000, "it is not extended here"
    there("(m.close(), f.close())")


def names(there, d):
    write(d + "/old", "old")
    there("f = open(%(p)s)", p=d + "/old")
    there("os.stat(%(p)s) and None", p=d + "/old")
    os.rename(d + "/old", d + "/new")
    assert there("fails(lambda: os.stat(%(p)s))", p=d + "/old") == "ENOENT", "the old name is there"
    assert there("read(%(p)s)", p=d + "/new") == "old", "the new name is not"
    write(d + "/next", "next")
    os.rename(d + "/next", d + "/new")
    assert there("read(%(p)s)", p=d + "/new") == "next", "what is put in its place is not seen"
    assert there("f.read()") == "old", "what is open is another"
    os.unlink(d + "/new")
    assert there("fails(lambda: os.stat(%(p)s))", p=d + "/new") == "ENOENT", "it is removed here and there it is not"
    there("f.close()")
    there("f = open(%(p)s, 'w+'); f.write('kept'); f.flush(); os.unlink(%(p)s)", p=d + "/gone")
    write(d + "/gone", "another")
    assert there("(f.seek(0), f.read())[1]") == "kept", "what has no name any more is another"
    there("f.close()")
    os.mkdir(d + "/dir")
    there("write(%(p)s, 'x')", p=d + "/dir/x")
    assert fails(lambda: os.rmdir(d + "/dir")) == "ENOTEMPTY", "what is made there is not in the directory"
    there("os.link(%(a)s, %(b)s); os.symlink('x', %(c)s)", a=d + "/dir/x", b=d + "/dir/y", c=d + "/dir/z")
    assert sorted(os.listdir(d + "/dir")) == ["x", "y", "z"] and os.stat(d + "/dir/x").st_nlink == 2 and read(d + "/dir/z") == "x"
    os.rename(d + "/dir", d + "/moved")
    assert there("read(%(p)s)", p=d + "/moved/y") == "x"
    os.chmod(d + "/moved/x", 0o640), os.chown(d + "/moved/x", 3, 4), os.utime(d + "/moved/x", (5, 6))
    s = "(lambda s: (s.st_mode & 0o777, s.st_uid, s.st_gid, s.st_mtime))(os.stat(%(p)s))"
    assert there(s, p=d + "/moved/y") == (0o640, 3, 4, 6.0), "attributes there are others: %s" % (there(s, p=d + "/moved/y"),)


def appends(there, d):
    there("w = start(append, %(p)s, 'there', 500)", p=d + "/append")
    append(d + "/append", "here", 500)
    there("w.join()")
    got = sorted(read(d + "/append").splitlines())
    assert got == sorted("%s %d" % (w, i) for w in ("here", "there") for i in range(500)), "%d lines" % len(got)


def exclusive(there, d):
    made = "[fails(lambda: os.close(os.open(%(p)s + str(i), os.O_CREAT | os.O_EXCL))) for i in range(100)]"
    there("r = []; w = start(lambda: r.extend(" + made + "))", p=d + "/excl")
    here = eval(made % {"p": repr(d + "/excl")})
    there("w.join()")
    for mine, its in zip(here, there("r")):
        assert sorted((mine, its)) == ["EEXIST", "done"], "both have made a file: %s %s" % (mine, its)


def pipes(there, d):
    there("os.mkfifo(%(p)s)", p=d + "/fifo")
    there("w = start(write, %(p)s, 'through')", p=d + "/fifo")
    assert read(d + "/fifo") == "through"
    there("w.join()")


def sockets(there, d):
    there("s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(%(p)s)", p=d + "/dgram")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(b"word", d + "/dgram")
    assert there("s.recv(9)") == b"word"
    there("s.close()")
    there("s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.bind(%(p)s); s.listen(1)", p=d + "/seq")
    there("w = start(lambda: globals().update(c=s.accept()[0]))")
    write(d + "/passed", "passed")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s, open(d + "/passed") as f:
        s.connect(d + "/seq")
        there("w.join()")
        memory = os.memfd_create("m")
        os.write(memory, b"memory")
        socket.send_fds(s, [b"x"], [f.fileno(), memory])
        there("fds = socket.recv_fds(c, 9, 2)[1]")
        assert there("[os.pread(fd, 9, 0) for fd in fds]") == [b"passed", b"memory"]
        there("[os.close(fd) for fd in fds]; c.close(); s.close()")
        os.close(memory)


def watching(there, d):
    os.mkdir(d + "/watched")
    there("i = watch(%(p)s)", p=d + "/watched")
    write(d + "/watched/a", "x")
    os.rename(d + "/watched/a", d + "/watched/b")
    os.unlink(d + "/watched/b")
    got = there("events(i)")
    for want in ((0x100, "a"), (0x2, "a"), (0x8, "a"), (0x40, "a"), (0x80, "b"), (0x200, "b")):
        assert want in got, "%s is not among %s" % (want, got)
    there("os.close(i)")


CHECKS = [flocks, posix_locks, ofd_locks, databases, mappings, names, appends, exclusive, pipes, sockets, watching]


def check(path, *dirs):
    bad = False
    for d in dirs:
        d = os.path.join(d, "run%d" % time.time_ns())
        os.mkdir(d)
        for c in CHECKS:
            try:
                c(There(path), d)
            except BaseException as e:
                bad = True
                print("%s in %s: %s" % (c.__name__, d, traceback.format_exception_only(type(e), e)[-1].strip()), flush=True)
    print("bad" if bad else "all is well", flush=True)


if __name__ == "__main__":
    {"serve": serve, "check": check}[sys.argv[1]](*sys.argv[2:])
