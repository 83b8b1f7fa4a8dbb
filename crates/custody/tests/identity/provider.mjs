// A real OpenID provider (npm `oidc-provider`) on a free port of this machine. Prints one line of JSON when it listens; ends with its stdin.
// With a certificate and a key it speaks TLS, and without on a second port, for the test itself.
// Its tokens are issued at `/token` (client credentials, RFC 8707). What no provider would issue is signed at `/forge`; `/rotate` gives it new keys.
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { createHmac, createPublicKey } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [, , modules, cert, key] = process.argv;
const { default: Provider } = await import(pathToFileURL(join(modules, 'oidc-provider/lib/index.js')));
const jose = await import(pathToFileURL(join(modules, 'jose/dist/webapi/index.js')));

const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];
let generation = 0;
let seen = 0;
let keys;
let handle;

async function newKeys() {
  generation += 1;
  const made = await Promise.all(ALGORITHMS.map(async (alg) => {
    const pair = await jose.generateKeyPair(alg === 'EdDSA' ? 'Ed25519' : alg, { extractable: true });
    return { ...(await jose.exportJWK(pair.privateKey)), kid: `${alg}-${generation}`, use: 'sig', alg: alg === 'EdDSA' ? 'EdDSA' : alg };
  }));
  return made;
}

function provider(issuer, jwks) {
  const client = (alg, name = 'agent') => ({
    client_id: `${name}-${alg.toLowerCase()}`, client_secret: 'not-much-of-a-secret', redirect_uris: [], response_types: [],
    grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_basic',
  });
  return new Provider(issuer, {
    jwks: { keys: jwks },
    clients: [...ALGORITHMS.map((alg) => client(alg)), client('RS256', 'fixed')],
    enabledJWA: { userinfoSigningAlgValues: ALGORITHMS, idTokenSigningAlgValues: ALGORITHMS },
    scopes: ['tools'],
    extraTokenClaims: () => ({ roles: ['offline_access', 'analyst'], nested: { job: 'summarize' } }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource, of) => ({
          scope: 'tools', audience: of.clientId.startsWith('fixed') ? 'urn:files' : resource, accessTokenTTL: 600, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: ALGORITHMS.find((alg) => of.clientId.endsWith(alg.toLowerCase())) } },
        }),
      },
    },
  });
}

async function forge({ header, claims, how }) {
  const [part, payload] = [header, claims].map((value) => Buffer.from(JSON.stringify(value)).toString('base64url'));
  const head = `${part}.${payload}`;
  const jwk = keys.find((key) => key.kty === 'RSA');
  const { d, p, q, dp, dq, qi, ...open } = jwk;
  if (how === 'none') return `${head}.`;
  if (how === 'hmac-pem') {
    const pem = createPublicKey({ key: open, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    return `${head}.${createHmac('sha256', pem).update(head).digest('base64url')}`;
  }
  if (how === 'hmac-modulus') return `${head}.${createHmac('sha256', Buffer.from(open.n, 'base64url')).update(head).digest('base64url')}`;
  const signing = how === 'other' ? (await jose.generateKeyPair('RS256')).privateKey : await jose.importJWK(jwk, 'RS256');
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', signing, Buffer.from(head));
  return `${head}.${Buffer.from(signature).toString('base64url')}`;
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString() || '{}');
}

async function answered(request, response) {
  const answer = (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
  if (request.url === '/forge') return answer({ token: await forge(await body(request)) });
  if (request.url === '/seen') return answer({ jwks: seen });
  if (request.url === '/rotate') {
    keys = await newKeys();
    handle = provider(issuer, keys).callback();
    return answer({ generation });
  }
  if (request.url === '/jwks') seen += 1;
  return handle(request, response);
}
async function listening(server, scheme) {
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return `${scheme}://127.0.0.1:${server.address().port}`;
}
const control = await listening(createServer(answered), 'http');
const issuer = cert
  ? await listening(createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, answered), 'https')
  : control;
keys = await newKeys();
handle = provider(issuer, keys).callback();
console.log(JSON.stringify({ issuer, control }));
process.stdin.on('end', () => process.exit(0)).resume();
