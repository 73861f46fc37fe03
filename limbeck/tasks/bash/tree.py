"""The small file tree in which commands are run to be judged: a home folder and some of what a system has beside it.

Everything in it is written here. Ages count back from one moment, chosen when the tree is packed, so that two commands see the
same dates however long it is between them; ages stay clear of whole days and hours, where `-mtime` and `-mmin` change their mind.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

HOME = "home/user"
FOLDERS = ("/home", "/var", "/etc", "/path", "/opt", "/root", "/mnt", "/media", "/data", "/dir", "/srv")  # beside /tmp: those that can be written to
MINUTE, HOUR, DAY = 60, 3600, 86_400
BIG = {"archive/big.iso": 120 << 20, "archive/movie.mkv": 12 << 20, "archive/dump.sql": 3 << 19}  # one hole each

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()
LINES = "".join(f"line {n}: the {WORDS[n % 10]} and the {WORDS[(n * 3) % 10]}\n" for n in range(1, 41))
LOG = "".join(f"2014-0{1 + n % 9}-1{n % 10} 12:{n:02d}:07 {('INFO', 'WARN', 'ERROR', 'DEBUG')[n % 4]} server[{100 + n}]: request from 192.168.1.{n % 7} took {n * 13 % 97} ms\n" for n in range(60))
NUMBERS = "".join(f"{n * 37 % 101}\n" for n in range(30))
FRUIT = "apple\nbanana\napple\ncherry\nbanana\napple\n\ndate\n"
CSV = "id,name,city,amount\n" + "".join(f"{n},{WORDS[n]},{('Oslo', 'Rome', 'Bonn')[n % 3]},{n * 17 % 50}.5\n" for n in range(10))
TABS = "".join(f"{WORDS[n]}\t{n}\t{n * n}\n" for n in range(10))
SENTENCES = "foo is the first word.\nA bar, a pattern and a string: test 123.\nHello world, hello World.\nTODO: nothing is done yet\nThe end; write to someone@example.com or call 555-1234.\n"
C_CODE = '#include <stdio.h>\n\n/* TODO: say more */\nint main(void)\n{\n    printf("hello world\\n");\n    return 0;\n}\n'
HTML = "<html>\n<head><title>test</title></head>\n<body><a href=\"http://example.com/foo\">foo</a></body>\n</html>\n"
SCRIPT = '#!/bin/bash\n# says hello\nname=${1:-world}\necho "hello $name"\n'
PYTHON = 'import os\n\n\ndef main():\n    print("foo", os.getcwd())\n\n\nmain()\n'
PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = "root:x:0:\ndaemon:x:1:\nadm:x:4:user\nwww-data:x:33:\nusers:x:100:user\nnogroup:x:65534:\n"

# Folders by mode; what is not named here is 0755.
MODES = {f"{HOME}/private": 0o700, f"{HOME}/shared": 0o777, f"{HOME}/dropbox": 0o1777}
EMPTY_FOLDERS = ("empty", "dir1/empty", "backup", "dropbox", "dest", "target")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or link of the tree: where, what is in it, how old, with which rights."""

    path: str
    content: bytes = b""
    age_s: float = 3 * DAY + 5 * HOUR
    mode: int = 0o644
    link: str = ""


def zipped(text: str) -> bytes:
    """The same bytes on every day: no time stamp."""
    return gzip.compress(text.encode(), mtime=0)


def packed_tar(files: dict[str, str], is_zipped: bool) -> bytes:
    """A tar file of these texts, the same bytes on every day."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(text), 1_400_000_000
            tar.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(out.getvalue(), mtime=0) if is_zipped else out.getvalue()


PACKED = {"one.txt": "one\n", "two/two.txt": "two\n"}
# (names, content, age in seconds, mode), below the home folder.
GROUPS: tuple[tuple[str, str | bytes, float, int], ...] = (
    ("file file1 file.txt file1.txt myfile filename myfile.txt text.txt", LINES, 2 * DAY + 7 * HOUR, 0o644),
    ("file2 file2.txt old.txt filename.txt docs/list.txt dir2/file2.txt", LINES.replace("line 7:", "line seven:").replace("echo", "ECHO"), 9 * DAY + 7 * HOUR, 0o644),
    ("file3 file3.txt file.ext foo.bar", SENTENCES * 2, 40 * DAY + 7 * HOUR, 0o664),
    ("foo foo.txt bar bar.txt test test.txt docs/readme.txt README README.txt README.md", SENTENCES, 5 * HOUR + 20 * MINUTE, 0o644),
    ("a.txt input.txt infile inputfile fruits.txt list.txt words.txt dir1/a.txt", FRUIT, 26 * HOUR, 0o644),
    ("b.txt c.txt dir1/b.txt docs/notes.txt notes.txt temp.txt", "banana\ncherry\ndate\nelder\n", 12 * MINUTE + 20, 0o600),
    ("numbers.txt number.txt data.txt data/numbers.txt data/values.dat", NUMBERS, 6 * DAY + 7 * HOUR, 0o644),
    ("data.csv file.csv data/people.csv docs/table.csv", CSV, 15 * DAY + 7 * HOUR, 0o644),
    ("table.tsv data/table.tsv", TABS, 15 * DAY + 7 * HOUR, 0o444),
    ("app.log file.log logs/app.log logs/error.log logs/access.log access.log", LOG, 31 * HOUR, 0o640),
    ("logs/old.log logs/app.log.1", LOG[:900], 70 * DAY + 7 * HOUR, 0o644),
    ("src/main.c src/prog.c src/lib/tool.c main.c test.c program.c", C_CODE, 4 * DAY + 7 * HOUR, 0o644),
    ("src/main.h src/lib/tool.h src/main.cpp src/lib/tool.cpp", C_CODE[:60], 33 * DAY + 7 * HOUR, 0o644),
    ("src/App.java src/lib/Tool.java src/Main.java Test.java", "public class Tool {\n  // TODO\n  String foo = \"bar\";\n}\n", 60 * DAY + 7 * HOUR, 0o644),
    ("src/app.py src/lib/tool.py script.py test.py", PYTHON, 50 * MINUTE + 30, 0o755),
    ("src/app.rb src/app.pl src/lib/tool.pm", "# foo\nputs 'hello world'\n", 90 * DAY + 7 * HOUR, 0o644),
    ("src/app.js web/app.js web/lib/tool.js", "var foo = 'bar'; // TODO\nconsole.log(foo);\n", 3 * HOUR + 20 * MINUTE, 0o644),
    ("web/index.html web/about.html web/docs/index.html index.html", HTML, 20 * DAY + 7 * HOUR, 0o644),
    ("web/index.php web/lib/db.php web/config.php index.php", "<?php\n$foo = 'bar';\neval($foo);\n?>\n", 11 * DAY + 7 * HOUR, 0o666),
    ("web/style.css web/lib/print.css", "body { color: red; }\n", 400 * DAY + 7 * HOUR, 0o644),
    ("web/site.xml config.xml pom.xml", "<config>\n  <name>foo</name>\n</config>\n", 200 * DAY + 7 * HOUR, 0o644),
    ("config.conf app.conf web/httpd.conf config/app.conf config/app.yml config.ini", "[main]\nname = foo\nport = 8080\n# debug = true\n", 8 * DAY + 7 * HOUR, 0o600),
    ("run.sh script.sh bin/tool.sh bin/backup.sh myscript.sh test.sh", SCRIPT, 5 * DAY + 7 * HOUR, 0o755),
    ("bin/tool a.out src/prog", b"\x7fELF" + bytes(range(256)) * 40, 30 * HOUR, 0o755),
    ("src/main.o src/lib/tool.o core src/Tool.class", b"\x7fELF" + bytes(2_000), 45 * DAY + 7 * HOUR, 0o644),
    ("images/photo.jpg images/icon.png images/cat.gif images/dog.jpg photo.jpg", b"\x89PNG" + bytes(range(200)) * 40, 100 * DAY + 7 * HOUR, 0o644),
    ("images/large.jpg", b"\x89PNG" + bytes(range(200)) * 700, 170 * DAY + 7 * HOUR, 0o644),
    ("music/song.mp3 music/album/track.mp3 music/album/track.ogg song.mp3 music/clip.mp4", b"ID3" + bytes(range(255)) * 30, 300 * DAY + 7 * HOUR, 0o664),
    ("docs/paper.pdf docs/paper.tex docs/letter.doc report.pdf", b"%PDF-1.4\n" + b"foo bar\n" * 300, 25 * DAY + 7 * HOUR, 0o644),
    ("notes.txt~ src/main.c~ docs/list.bak data.bak file.bak src/.main.c.swp file.tmp docs/a.tmp cache.tmp", "old\n", 35 * DAY + 7 * HOUR, 0o644),
    ("empty.txt empty.log logs/empty.log docs/nothing dir1/empty.txt", "", 10 * DAY + 7 * HOUR, 0o644),
    ("file.gz logs/app.log.2.gz data.gz archive/old.txt.gz", zipped(LINES), 50 * DAY + 7 * HOUR, 0o644),
    ("archive.tar.gz backup.tar.gz archive/site.tar.gz file.tar.gz archive/site.tgz", packed_tar(PACKED, True), 55 * DAY + 7 * HOUR, 0o644),
    ("file.tar archive.tar archive/old.tar", packed_tar(PACKED, False), 365 * DAY + 7 * HOUR, 0o644),
    ("my file.txt docs/two words.txt name with spaces.mp3", "spaces\n", 2 * DAY + 3 * HOUR, 0o644),
    (".bashrc .profile .hidden .config/app.conf .git/config .git/HEAD .svn/entries src/.svn/entries CVS/Root .DS_Store web/.htaccess", "# settings\nexport FOO=bar\nalias ll='ls -l'\n", 150 * DAY + 7 * HOUR, 0o644),
    ("Makefile src/Makefile", "all: main.o\n\tcc -o prog main.o\n", 150 * DAY + 9 * HOUR, 0o644),
    ("dir/file.txt dir/a dir/b dir1/file1 dir1/file.txt dir1/c dir2/file1 dir2/d dir3/file.txt dir1/sub/deep/file.txt folder/file.txt folder1/file.txt folder2/a.txt", "in a folder\nfoo\n", 3 * DAY + 7 * HOUR, 0o644),
    ("private/secret.txt private/id_rsa", "secret\n", 80 * DAY + 7 * HOUR, 0o400),
    ("shared/all.txt shared/run.cgi", "all\n", 1 * HOUR + 20 * MINUTE, 0o777),
    ("bin/setuid bin/setgid", SCRIPT, 500 * DAY + 7 * HOUR, 0o4755),
    ("UPPER.TXT Photo.JPG docs/Report.TXT", "UPPER lower\nFOO\n", 13 * DAY + 7 * HOUR, 0o644),
    ("crlf.txt docs/windows.txt", "one\r\ntwo\r\nfoo\r\n", 13 * DAY + 8 * HOUR, 0o644),
    ("2009.txt docs/report-2009.txt logs/2014-01-01.log", SENTENCES, 3_000 * DAY + 7 * HOUR, 0o644),
    ("tmp/junk.txt tmp/a.log tmp/old/junk.tmp", "junk\n", 95 * DAY + 7 * HOUR, 0o644),
)
ELSEWHERE: tuple[tuple[str, str | bytes, float, int], ...] = (
    ("var/log/syslog var/log/messages var/log/auth.log var/log/apache2/error.log var/log/apache2/access.log", LOG, 28 * HOUR, 0o644),
    ("var/log/syslog.1 var/log/old.log", LOG[:1500], 33 * DAY + 7 * HOUR, 0o644),
    ("var/log/syslog.2.gz", zipped(LOG), 41 * DAY + 7 * HOUR, 0o644),
    ("var/www/index.html var/www/html/index.html var/www/about.html", HTML, 21 * DAY + 7 * HOUR, 0o644),
    ("var/www/index.php var/www/html/lib/db.php var/www/.htaccess", "<?php eval($foo); ?>\n", 12 * DAY + 7 * HOUR, 0o777),
    ("var/tmp/stuff/a.txt var/tmp/stuff/b.log var/tmp/old.tmp var/spool/mail/user", "stuff\n", 61 * DAY + 7 * HOUR, 0o644),
    ("etc/hosts", "127.0.0.1 localhost\n192.168.1.2 server server.example.com\n", 500 * DAY + 7 * HOUR, 0o644),
    ("etc/passwd etc/passwd-", PASSWD, 501 * DAY + 7 * HOUR, 0o644),
    ("etc/group etc/group-", GROUP, 501 * DAY + 7 * HOUR, 0o644),
    ("etc/fstab etc/hostname etc/crontab etc/apache2/apache2.conf etc/httpd/conf/httpd.conf etc/mysql/my.cnf etc/ssh/sshd_config etc/app.conf etc/init.d/apache2 etc/profile etc/shells", "# settings\nname foo\nPort 22\n\n/bin/bash\n", 200 * DAY + 7 * HOUR, 0o644),
    ("tmp/foo tmp/file.txt tmp/a.tmp tmp/test/a.txt tmp/test/b.log tmp/foo.d/bar tmp/1 tmp/2 tmp/file1 tmp/file2 tmp/list", FRUIT, 2 * DAY + 7 * HOUR, 0o644),
    ("path/to/dir/a.txt path/to/dir/b.log path/to/dir/sub/c.txt path/to/file path/to/file.txt path/to/files/x.txt path/a.txt path/to/my/file.txt", SENTENCES, 9 * DAY + 9 * HOUR, 0o644),
    ("path/to/dir/index.php path/to/dir/run.sh path/to/dir/photo.jpg path/to/directory/a.c", SCRIPT, 9 * DAY + 9 * HOUR, 0o755),
    ("opt/app/run.sh opt/app/lib/tool.jar opt/app/app.log", SCRIPT, 130 * DAY + 7 * HOUR, 0o755),
    ("root/big.txt root/.bashrc mnt/disk/a.txt media/usb/song.mp3 media/usb/photo.jpg data/a.csv data/b.txt data/old/c.log dir/a.txt dir/b.c dir/sub/d.txt srv/www/index.html", LINES, 14 * DAY + 7 * HOUR, 0o644),
    ("home/user1/a.txt home/user1/.profile home/peter/notes.txt home/peter/song.mp3", SENTENCES, 32 * DAY + 7 * HOUR, 0o644),
)
LINKS = {"link": "file.txt", "link.txt": "file.txt", "broken": "nowhere", "dir1/up": "..", "docs/link": "../file1", "current": "dir1", "bin/run": "tool.sh", "src/latest": "main.c"}
TWICE = {"dir1/hard": "file1", "archive/hard.txt": "file2"}  # hard links


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every file and link of the tree, by path."""
    out: dict[str, Entry] = {}
    for prefix, groups in ((f"{HOME}/", GROUPS), ("", ELSEWHERE)):
        for names, content, age_s, mode in groups:
            for name in _names(names):
                out[prefix + name] = Entry(prefix + name, content.encode() if isinstance(content, str) else content, age_s, mode)
    for name, target in LINKS.items():
        out[f"{HOME}/{name}"] = Entry(f"{HOME}/{name}", age_s=7 * DAY + 7 * HOUR, mode=0o777, link=target)
    return tuple(out[path] for path in sorted(out))


def _names(text: str) -> list[str]:
    """Names as spaces part them, but for those few that hold spaces themselves."""
    for spaced in ("my file.txt", "docs/two words.txt", "name with spaces.mp3"):
        text = text.replace(spaced, spaced.replace(" ", "\0"))
    return [name.replace("\0", " ") for name in text.split()]


def pack(now: float, furniture: Sequence[Entry] = ()) -> bytes:
    """The tree as a tar file, as old at `now` as it says, folders first; `furniture` is added (a path that ends in / is a folder)."""
    files = {e.path: e for e in (*entries(), *furniture)}
    folders = {path for e in files for path in _above(e)} | {path for name in EMPTY_FOLDERS for path in _above(f"{HOME}/{name}/")}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for at, path in enumerate(sorted(f for f in folders if "/" in f)):  # the first level is mounted, not made
            info = tarfile.TarInfo(path)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, MODES.get(path, 0o755), int(now - 4 * DAY - at * 11 * HOUR - 1_111)
            tar.addfile(info)
        for entry in files.values():
            if not entry.path.endswith("/"):
                _add(tar, entry, now)
        for name, size in BIG.items():
            _add_hole(tar, f"{HOME}/{name}", size, int(now - 600 * DAY))
        for name, target in TWICE.items():
            info = tarfile.TarInfo(f"{HOME}/{name}")
            info.type, info.linkname, info.mtime = tarfile.LNKTYPE, f"{HOME}/{target}", int(now - 2 * DAY)
            tar.addfile(info)
    return out.getvalue()


def _add(tar: tarfile.TarFile, entry: Entry, now: float) -> None:
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime = entry.mode, int(now - entry.age_s)
    if entry.link:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    else:
        info.size = len(entry.content)
    tar.addfile(info, io.BytesIO(entry.content))


def _add_hole(tar: tarfile.TarFile, path: str, size: int, mtime: int) -> None:
    """A file of zeros that takes no room, in GNU tar's sparse form: an empty piece at its end, and how long it is."""
    info = tarfile.TarInfo(path)
    info.mode, info.mtime = 0o644, mtime
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (size, 0)
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    assert tar.fileobj is not None
    tar.fileobj.write(bytes(header))
    tar.offset += len(header)


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
