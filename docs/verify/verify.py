#!/usr/bin/env python3
"""A second verifier, written from docs/ledger-format.md and the C2SP specifications alone, not from the Rust code.

  verify.py ledger DIR [--vkey KEY] [--witness KEY]... [--copy FILE]...   a ledger at rest: lines, tree, signatures, packs, key files
  verify.py proof PROOF LINE --vkey KEY [--witness KEY]...                `custody log prove ENTRY --line LINE > PROOF`
  verify.py consistency OLD PROOF --vkey KEY [--witness KEY]...           OLD: a checkpoint that you kept; `custody log consistency ... > PROOF`
  verify.py tiles URL|DIR --vkey KEY [--witness KEY]... [--state FILE]    follows a published log; FILE keeps what was seen
  verify.py note FILE --vkey KEY [--witness KEY]...                       signatures of one checkpoint

Python 3.9, standard library. With the package `cryptography` signatures are checked by it; without, by the code at the end
of this file, slower. It checks what is public, never what is sealed. Exit code: 0 holds, 1 does not, 2 usage.
"""
import argparse, base64, hashlib, json, os, sys, urllib.error, urllib.request

MAX = 512 << 20  # no file and no answer is read beyond this


class Fault(Exception):
    pass


def need(holds, what):
    if not holds:
        raise Fault(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(text):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Fault(f"not base64: {text[:80]!r}")


def read(path):
    with open(path, "rb") as file:
        data = file.read(MAX + 1)
    need(len(data) <= MAX, f"{path} is too long")
    return data


# ── RFC 6962 ────────────────────────────────────────────────────────────────────────────────────────────────────
def leaf_hash(line):
    return sha256(b"\0" + line)


def node(left, right):
    return sha256(b"\1" + left + right)


class Tree:
    """A tree that grows leaf by leaf; `added` is what each leaf adds to the file `hashes`."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def push(self, leaf):
        added, hash, n = [leaf], leaf, self.size
        while n & 1:
            hash = node(self.peaks.pop(), hash)
            added.append(hash)
            n >>= 1
        self.peaks.append(hash)
        self.size += 1
        return added

    def root(self):
        if not self.peaks:
            return sha256(b"")
        hash = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            hash = node(peak, hash)
        return hash


def check_inclusion(index, size, leaf, path, root):
    """RFC 9162 section 2.1.3.2."""
    need(0 <= index < size, "the entry is not in the tree")
    fn, sn, hash = index, size - 1, leaf
    for sibling in path:
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            hash = node(sibling, hash)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hash = node(hash, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and hash == root, "the proof does not lead to the root")


def check_consistency(old, new, path, old_root, new_root):
    """RFC 9162 section 2.1.4.2."""
    need(0 < old <= new, "the older tree is empty or larger than the newer")
    if old == new:
        need(not path and old_root == new_root, "two roots of one size")
        return
    path = list(path)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    need(path, "the proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for hash in path[1:]:
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(hash, fr), node(hash, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, hash)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and fr == old_root and sr == new_root, "the older tree is not the beginning of the newer: history was rewritten")


# ── C2SP signed-note, tlog-checkpoint, tlog-cosignature ─────────────────────────────────────────────────────────
class Key:
    """A verifier key, NAME+ID+BASE64: algorithm 1 signs as a log, 4 as a witness."""

    def __init__(self, text):
        parts = text.strip().split("+", 2)
        need(len(parts) == 3, f"not a verifier key: {text!r}")
        self.name, id, key = parts[0], parts[1], b64(parts[2])
        need(len(key) == 33 and key[0] in (1, 4), "not an Ed25519 key of a log or a witness")
        self.witness, self.key = key[0] == 4, key[1:]
        self.id = sha256(self.name.encode() + b"\n" + key)[:4]
        need(self.id.hex() == id, "the key id does not fit its key")

    def check(self, note):
        """When it signed, in seconds (a witness), or True (a log); None without a good signature."""
        for name, signature in note.signatures:
            if name != self.name or signature[:4] != self.id:
                continue
            if not self.witness and len(signature) == 68 and ed25519(self.key, signature[4:], note.text):
                return True
            if self.witness and len(signature) == 76:
                time = int.from_bytes(signature[4:12], "big")
                if ed25519(self.key, signature[12:], b"cosignature/v1\ntime %d\n" % time + note.text):
                    return time
        return None


class Note:
    """A checkpoint: `text` is what is signed."""

    def __init__(self, data):
        at = data.rfind(b"\n\n")
        need(at >= 0, "not a signed note")
        self.data, self.text = data, data[: at + 1]
        lines = self.text.decode().split("\n")
        need(len(lines) == 4 and lines[3] == "", "a checkpoint has three lines")
        self.origin, size, root = lines[:3]
        need(size.isdigit() and str(int(size)) == size, "the size is no number")
        self.size, self.root = int(size), b64(root)
        need(len(self.root) == 32, "the root is no hash")
        self.signatures = []
        for line in data[at + 2 :].decode().splitlines():
            parts = line.split(" ")
            need(len(parts) == 3 and parts[0] == "—", "not a signature line")
            self.signatures.append((parts[1], b64(parts[2])))

    def trust(self, key, witnesses=(), quiet=False):
        need(not key.witness, f"{key.name} is the key of a witness, not of a log")
        need(self.origin == key.name, f"a checkpoint of {self.origin}, not of {key.name}")
        need(key.check(self), f"no valid signature by {key.name}")
        seen = []
        for witness in witnesses:
            need(witness.witness, f"{witness.name} is the key of a log, not of a witness")
            time = witness.check(self)
            if time is not None:
                seen.append((witness.name, time))
        if not quiet:
            need(len(seen) == len(witnesses), "a witness did not cosign this checkpoint")
        return seen


def notes(data):
    """Notes one after the other: each ends before the first line after its signature lines that is none."""
    found, lines, signed = [], [], False
    for line in data.splitlines(keepends=True):
        is_signature = line.startswith("— ".encode())
        if signed and not is_signature:
            found.append(b"".join(lines))
            lines = []
        signed = is_signature
        lines.append(line)
    if lines:
        need(signed and lines[-1].endswith(b"\n"), "ends with what is no whole checkpoint")
        found.append(b"".join(lines))
    return [Note(note) for note in found]


# ── a ledger on disk (docs/ledger-format.md) ────────────────────────────────────────────────────────────────────
def ledger(dir, vkey, witnesses, copies):
    head = read(f"{dir}/ledger.json")
    known = json.loads(head)
    need(head == json.dumps(known, separators=(",", ":"), ensure_ascii=False).encode() + b"\n", "ledger.json is not in its one form")
    need(vkey is None or known["vkey"] == vkey.strip(), "the ledger names another key than the trusted one")
    key = Key(known["vkey"])
    need(key.name == known["origin"], "the origin is not the name of the key")

    own = notes(read(f"{dir}/checkpoints"))
    need(own and own[-1].data == read(f"{dir}/checkpoint"), "`checkpoint` is not the last of `checkpoints`")
    wanted = {}
    for note in own:
        note.trust(key, quiet=True)
        wanted.setdefault(note.size, []).append(note)
    for before, after in zip(own, own[1:]):
        need(before.size <= after.size, "the sizes of checkpoints fall")
    covered, cosigned = 0, {}
    for copy in copies:
        for note in notes(read(copy)):
            note.trust(key, quiet=True)
            wanted.setdefault(note.size, []).append(note)
            covered = max(covered, note.size)
            for name, time in note.trust(key, witnesses, quiet=True):
                cosigned[name] = max(cosigned.get(name, (0, 0)), (note.size, time))

    tree, stored, keys, destroyed, roots = Tree(), bytearray(), {}, set(), {}
    segments = sorted(os.listdir(f"{dir}/segments"))
    for number, segment in enumerate(segments):
        need(segment == f"{tree.size:020}.jsonl", f"segment {segment} does not begin where the one before ended")
        place = f"{dir}/packs/{number:08}.pack"
        pack = read(place) if os.path.exists(place) else None
        end, seen = 0, {}
        data = read(f"{dir}/segments/{segment}")
        need(data.endswith(b"\n"), f"{segment} ends with half a line")
        for line in data[:-1].split(b"\n"):
            entry, where = json.loads(line), f"entry {tree.size}"
            kind = entry["kind"]
            created = kind == "ledger_created"
            need(created == (tree.size == 0), f"{where}: a ledger begins once")
            if created:
                need((entry["origin"], entry["vkey"]) == (known["origin"], known["vkey"]), f"{where}: names another ledger")
            if kind == "key_created":
                keys[entry["key"]] = (entry["file"], entry.get("session"))
            if kind == "key_destroyed":
                need(entry["key"] in keys, f"{where}: destroys an unknown key")
                destroyed.add(entry["key"])
            for field in ("detail", "body"):
                part = entry.get(field)
                if not part:
                    continue
                need(part["pack"] == number, f"{where}: refers to another pack")
                need(part["key"] in keys and part["key"] not in destroyed, f"{where}: uses a key that is not in use")
                need(keys[part["key"]][1] == entry.get("session"), f"{where}: uses the key of another session")
                need(41 <= part["stored"] <= part["size"] + 41, f"{where}: impossible sizes")
                if part["offset"] == end:
                    end += part["stored"]
                    seen[part["offset"]] = part
                    if pack is not None:
                        need(hashlib.sha256(pack[part["offset"] : end]).hexdigest() == part["digest"], f"{where}: its {field} is not what was sealed")
                else:
                    need(seen.get(part["offset"]) == part, f"{where}: its {field} lies nowhere")
            for hash in tree.push(leaf_hash(line)):
                stored += hash
            if tree.size in wanted:
                roots[tree.size] = tree.root()
        if pack is None:
            need({part["key"] for part in seen.values()} <= destroyed, f"pack {number} is missing")
        else:
            need(end == len(pack), f"pack {number} does not end with its last part")
    need(bytes(stored) == read(f"{dir}/hashes"), "`hashes` are not those of the entries")
    for size, found in wanted.items():
        need(size <= tree.size, f"{size} entries were signed, {tree.size} are there: entries were removed")
        for note in found:
            need(size == 0 or note.root == roots[size], f"the first {size} entries are not those that were signed")
    for id, (digest, session) in keys.items():
        place = f"{dir}/keys/{id}.json"
        need(os.path.exists(place) != (id in destroyed), f"{id}: its file must be there until it is destroyed, and not after")
        if id in destroyed:
            continue
        data = read(place)
        need(hashlib.sha256(data).hexdigest() == digest, f"{id}: another file than was recorded")
        file = json.loads(data)
        need(file.get("session") == session, f"{id}: the key of another session")
        daemon = f"{dir}/keys/{id}.daemon.json"
        if os.path.exists(daemon):
            need(hashlib.sha256(read(daemon)).hexdigest() == file.get("daemon"), f"{id}: another file of the daemon than was recorded")
    print(f"ok {tree.size} entries, {len(own)} checkpoints, {len(keys)} keys, {len(destroyed)} destroyed; signed {own[-1].size}, in copies {covered}")
    for name, (size, time) in sorted(cosigned.items()):
        print(f"ok witness {name} cosigned {size} entries at {time}")


# ── proofs ──────────────────────────────────────────────────────────────────────────────────────────────────────
def hashes(lines):
    found = [b64(line) for line in lines]
    need(len(found) <= 64 and all(len(hash) == 32 for hash in found), "not hashes")
    return found


def proof(text, line, key, witnesses):
    head, _, note = text.partition(b"\n\n")
    lines = head.decode().split("\n")
    need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index "), "not a tlog-proof")
    index, note = int(lines[1][6:]), Note(note)
    seen = note.trust(key, witnesses)
    check_inclusion(index, note.size, leaf_hash(line), hashes(lines[2:]), note.root)
    print(f"ok entry {index} stands in the log of {note.size} entries of {key.name}")
    say(seen)


def consistency(old, text, key, witnesses):
    old = notes(old)[-1]
    old.trust(key, quiet=True)
    head, _, note = text.partition(b"\n\n")
    lines = head.decode().split("\n")
    need(lines[0] == f"old {old.size}", "the proof is from another size")
    note = Note(note)
    seen = note.trust(key, witnesses)
    check_consistency(old.size, note.size, hashes(lines[1:]), old.root, note.root)
    print(f"ok the log of {note.size} entries begins with the {old.size} that were known")
    say(seen)


def say(seen):
    for name, time in seen:
        print(f"ok witness {name} cosigned it at {time}")


# ── C2SP tlog-tiles ─────────────────────────────────────────────────────────────────────────────────────────────
def tile_path(kind, index, width):
    pieces = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        pieces.insert(0, f"x{index % 1000:03}")
    return f"tile/{kind}/" + "/".join(pieces) + ("" if width == 256 else f".p/{width}")


def fetch(base, path):
    """The bytes, or None when it is not there."""
    if "://" not in base:
        return read(os.path.join(base, path)) if os.path.exists(os.path.join(base, path)) else None
    try:
        with urllib.request.urlopen(base.rstrip("/") + "/" + path, timeout=60) as answer:
            data = answer.read(MAX + 1)
    except urllib.error.HTTPError as error:
        need(error.code == 404, f"{path}: {error}")
        return None
    need(len(data) <= MAX, f"{path} is too long")
    return data


def pieces(count):
    for index in range(0, count, 256):
        yield index // 256, min(256, count - index)


def tiles(base, key, witnesses, state):
    data = fetch(base, "checkpoint")
    need(data is not None, "no checkpoint is published")
    note = Note(data)
    seen = note.trust(key, witnesses)
    before = notes(read(state))[-1] if state and os.path.exists(state) else None
    need(before is None or before.size <= note.size, f"{before and before.size} entries were published before, now {note.size}: rolled back")
    tree, leaves = Tree(), []
    for index, width in pieces(note.size):
        tile = fetch(base, tile_path(0, index, width))
        need(tile is not None and len(tile) == 32 * width, f"{tile_path(0, index, width)} is missing or of another length")
        leaves += [tile[at : at + 32] for at in range(0, len(tile), 32)]
    for at, leaf in enumerate(leaves, 1):
        tree.push(leaf)
        if before and at == before.size:
            need(tree.root() == before.root, f"the first {at} entries are not those that were published before: history was rewritten")
    need(tree.root() == note.root, "the tiles do not lead to the root that was signed")
    level, below = 1, leaves
    while len(below) >= 256:
        above = []
        for at in range(0, len(below) - len(below) % 256, 256):
            row = below[at : at + 256]
            while len(row) > 1:
                row = [node(row[n], row[n + 1]) for n in range(0, len(row), 2)]
            above += row
        for index, width in pieces(len(above)):
            tile = fetch(base, tile_path(level, index, width))
            need(tile == b"".join(above[index * 256 : index * 256 + width]), f"{tile_path(level, index, width)} is not made of the tiles below it")
        level, below = level + 1, above
    entries = 0
    for index, width in pieces(note.size):
        bundle = fetch(base, tile_path("entries", index, width))
        if bundle is None:
            need(entries == 0, f"{tile_path('entries', index, width)} is missing")
            break
        at = 0
        for n in range(index * 256, index * 256 + width):
            size = int.from_bytes(bundle[at : at + 2], "big")
            need(at + 2 + size <= len(bundle), f"entry {n} is cut off")
            need(leaf_hash(bundle[at + 2 : at + 2 + size]) == leaves[n], f"entry {n} is not the one in the tree")
            at, entries = at + 2 + size, entries + 1
        need(at == len(bundle), "more in a bundle than its entries")
    if state:
        with open(state + ".new", "wb") as file:
            file.write(data)
        os.replace(state + ".new", state)
    follows = f", continuing the {before.size} seen before" if before else ""
    print(f"ok {note.size} entries{follows}; {entries} of them readable")
    say(seen)


# ── Ed25519 (RFC 8032), for machines without `cryptography` ─────────────────────────────────────────────────────
def ed25519(key, signature, message):
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return ed25519_slow(key, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, d - c, d + c, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def ed25519_slow(key, signature, message):
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    base = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = times(s, base), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, *places, required=True):
        one = commands.add_parser(name)
        for place in places:
            one.add_argument(place)
        one.add_argument("--vkey", required=required, help="the log's verifier key, kept elsewhere")
        one.add_argument("--witness", action="append", default=[], help="the key of a witness that must have cosigned")
        return one

    command("ledger", "dir", required=False).add_argument("--copy", action="append", default=[], help="checkpoints that left the machine")
    command("proof", "proof", "line")
    command("consistency", "old", "proof")
    command("tiles", "base").add_argument("--state", help="a file that remembers the last checkpoint")
    command("note", "file")
    args = parser.parse_args()
    try:
        witnesses = [Key(key) for key in args.witness]
        if args.command == "ledger":
            ledger(args.dir.rstrip("/"), args.vkey, witnesses, args.copy)
            return 0
        key = Key(args.vkey)
        if args.command == "proof":
            proof(read(args.proof), read(args.line), key, witnesses)
        elif args.command == "consistency":
            consistency(read(args.old), read(args.proof), key, witnesses)
        elif args.command == "tiles":
            tiles(args.base, key, witnesses, args.state)
        else:
            for note in notes(read(args.file)):
                seen = note.trust(key, witnesses)
                print(f"ok {note.size} entries of {key.name}")
                say(seen)
    except Fault as fault:
        print(f"FAULT {fault}")
        return 1
    except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
        print(f"FAULT cannot be read: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
