#!/usr/bin/env python3
"""Checks a closed ledger by docs/ledger-format.md alone: python3 ledger-verify.py LEDGER_DIRECTORY

Written from that page, not from the Rust code, to show that the page is enough. Needs the package `cryptography`.
It checks lines, tree, signatures, packs, key files; not what is sealed. An AssertionError is a fault.
It assumes that no key was destroyed; `custody verify` knows more, and names what is wrong.
"""
import base64, glob, hashlib, json, os, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

d = sys.argv[1].rstrip("/") + "/"
H=lambda b:hashlib.sha256(b).digest()
head=open(d+'ledger.json','rb').read(); j=json.loads(head)
assert head==json.dumps(j,separators=(',',':')).encode()+b'\n'
name,kid,key=j['vkey'].split('+',2); key=base64.b64decode(key); assert key[0]==1 and name==j['origin']
assert H(name.encode()+b'\n'+key)[:4].hex()==kid
pub=Ed25519PublicKey.from_public_bytes(key[1:])
peaks=[];roots={};n=0;stored=b'';keys={}
for o,s in enumerate(sorted(glob.glob(d+'segments/*'))):
    assert int(os.path.basename(s)[:20])==n
    pack=open(d+'packs/%08d.pack'%o,'rb').read(); end=0; seen={}
    data=open(s,'rb').read(); assert data.endswith(b'\n')
    for line in data[:-1].split(b'\n'):
        e=json.loads(line)
        if n==0: assert e['kind']=='ledger_created' and e['vkey']==j['vkey']
        if e['kind']=='key_created': keys[e['key']]=(e['file'],e.get('session'))
        for f in ('detail','body'):
            p=e.get(f)
            if not p: continue
            assert p['pack']==o and keys[p['key']][1]==e.get('session')
            if p['offset']==end:
                assert hashlib.sha256(pack[end:end+p['stored']]).hexdigest()==p['digest']; end+=p['stored']; seen[p['offset']]=p
            else: assert seen[p['offset']]==p
            assert 41<=p['stored']<=p['size']+41
        h=H(b'\0'+line); stored+=h; m=n
        while m&1: h=H(b'\1'+peaks.pop()+h); stored+=h; m>>=1
        peaks.append(h); n+=1
        r=peaks[-1]
        for q in reversed(peaks[:-1]): r=H(b'\1'+q+r)
        roots[n]=r
    assert end==len(pack)
assert stored==open(d+'hashes','rb').read()
for k,(f,s) in keys.items():
    b=open(d+'keys/%s.json'%k,'rb').read(); assert hashlib.sha256(b).hexdigest()==f
    kj=json.loads(b); assert kj.get('session')==s
    assert hashlib.sha256(open(d+'keys/%s.daemon.json'%k,'rb').read()).hexdigest()==kj['daemon']
c=0; t=open(d+'checkpoints').read(); last=''
while t:
    text,rest=t.split('\n\n',1); sig,t=rest.split('\n',1); last=text+'\n\n'+sig+'\n'
    o,size,root=text.split('\n'); assert o==name and base64.b64decode(root)==roots[int(size)]
    _,nm,b=sig.split(' '); b=base64.b64decode(b); assert b[:4].hex()==kid; pub.verify(b[4:],(text+'\n').encode()); c+=1
assert last==open(d+'checkpoint').read()
print('ok',n,'entries',c,'checkpoints',len(keys),'keys')
