"""What the options of common utilities take, as their manual pages have it: enough to cut a command into flags and values."""

from __future__ import annotations

# Letters of short options that take a value, attached or as the next word.
VALUED = {
    "apropos": "seCLm", "awk": "Fvf", "bash": "cO", "bind": "mfquxr", "cal": "ABm", "column": "csox", "cp": "tS", "cpio": "EFHICMOR", "crontab": "u",
    "csplit": "bfn", "curl": "AbcCdDeEFhHKmoPQrtTuUwxXyYz", "cut": "bcdf", "date": "dfrs", "df": "tBx", "diff": "CFILSUWx", "dig": "bcfkpqtxy", "du": "BdtX",
    "egrep": "ABCDdefm", "env": "uCS", "fgrep": "ABCDdefm", "fold": "w", "gawk": "Fvf", "git": "Cc", "grep": "ABCDdefm", "gzip": "S", "head": "cn",
    "history": "adp", "host": "ctRW", "hostname": "F", "install": "gmotS", "join": "12aeotvj", "kill": "sn", "ln": "tS", "ls": "ITw", "man": "CeLmMPRrS", "mkdir": "mZ",
    "mktemp": "p", "mount": "LOotU", "mv": "tS", "nice": "n", "nl": "bdfhilnsvw", "od": "AjNStw", "paste": "d", "pgrep": "dFgGPstuU", "ping": "cFiIlmMpQsStTwW",
    "pkill": "FgGPstuU", "printf": "v", "ps": "CGgNOopstUu", "read": "adinNptu", "renice": "gnpu", "rsync": "BefMT", "scp": "cFiJloPSX", "screen": "cehpSstTX",
    "sed": "efl", "seq": "fs", "set": "o", "sh": "c", "shopt": "o", "shuf": "eino", "sort": "kSotT", "split": "abClnt", "ssh": "bBcDeEFIiJlLmoOpQRSwW", "ssh-keygen": "CfNPbt", "stat": "c",
    "su": "cgGs", "tac": "s", "tail": "cns", "tar": "bCfFgIKLNTVX", "time": "fo", "timeout": "ks", "top": "dnopsuUwEO", "touch": "drt", "tree": "HILoPT", "umount": "Ot", "uniq": "fsw",
    "unzip": "dPx", "useradd": "bcdegGkKpsu", "usermod": "cdegGlLpsu", "watch": "n", "wget": "aABeiIloOPQRtTUwX", "xargs": "adEILnPs", "xxd": "cgloRs", "yes": "", "zip": "bintPx",
}  # fmt: skip
# Options of one dash that are whole words: `java -jar`, not -j -a -r.
WORDED = {"find", "java", "javac", "convert", "openssl", "ffmpeg", "xset", "dpkg-query", "go", "mogrify", "xterm", "gcc", "g++", "finger", "terraform", "qsub", "rename.ul", "npm"}
# Long options whose value is the next word.
LONG_VALUED = {
    "find": {
        "amin": "sign", "anewer": "file", "atime": "sign", "cmin": "sign", "cnewer": "file", "context": "text", "ctime": "sign", "fls": "file", "fprint": "file", "fprint0": "file", "fprintf": "file",
        "fstype": "literal", "gid": "sign", "group": "text", "ilname": "pattern", "iname": "pattern", "inum": "sign", "ipath": "pattern", "iregex": "pattern", "iwholename": "pattern",
        "links": "sign", "lname": "pattern", "maxdepth": "number", "mindepth": "number", "mmin": "sign", "mtime": "sign", "name": "pattern", "newer": "file", "newerBt": "text", "newerct": "text", "newermt": "text",
        "newerat": "text", "path": "pattern", "perm": "permission", "printf": "literal", "regex": "pattern", "regextype": "literal", "samefile": "file", "size": "sign", "type": "literal",
        "uid": "sign", "user": "text", "wholename": "pattern", "xtype": "literal",
    },
}  # fmt: skip
ACTIONS = {"exec", "execdir", "ok", "okdir"}  # of find: a command of its own follows, up to ; or +
# Utilities whose first argument is another command.
CARRIERS = {"xargs", "nohup", "nice", "time", "timeout", "watch", "exec", "command", "builtin", "eval", "strace", "setsid", "ionice", "stdbuf", "parallel"}
# How many plain words of its own a carrier has before that command.
OWN_WORDS = {"timeout": 1}
PREFIXES = {"sudo", "doas"}
PREFIX_VALUED = {"sudo": "CDghpRrTtUu", "doas": "Cu"}
SHELLS = {"sh", "bash", "zsh", "dash", "ksh"}
NUMBERED = {"head", "tail"}  # -20 is a number of lines
# Options of find that take nothing.
FIND_BARE = {
    "a", "and", "or", "o", "not", "daystart", "delete", "depth", "d", "empty", "false", "follow", "ignore_readdir_race", "ls", "mount", "nogroup", "noleaf",
    "nouser", "print", "print0", "prune", "true", "warn", "nowarn", "xdev", "help", "version", "executable",
}  # fmt: skip
# Options that the reference does not know, and so does not count.
UNKNOWN = {"compress": {"-r"}, "curl": {f"-{letter}" for letter in "AbcdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwxXyYzZ#01234"}, "mount": {"-L"}}
# Utilities, and options, whose values are compared as written even where values are left out: formats and mount options.
LITERAL = {"date": "literal", "mount -o": "literal"}
