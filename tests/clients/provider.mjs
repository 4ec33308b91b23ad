// A provider made of programs that are not ours: oidc-provider as its OAuth 2.0 server (oauth.mjs), nodemailer's smtp-server with
// XOAUTH2 over TLS as its mail server (mail.mjs). Arguments: DIRECTORY (cert.pem and key.pem in, messages out) and starttls|implicit;
// what is to be known of the client comes in the environment. Prints JSON lines: ready, and what happens to codes, tokens, grants,
// logins and messages; every secret that is issued is among them, so that a test can look for it.
//
// On the OAuth port besides: PUT /mode/NAME makes it misbehave until PUT /mode/well; PUT /forget ends all access tokens and the
// connections that they opened; PUT /life/SECONDS says how long later ones serve; PUT /grant gives a refresh token of a new grant.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { oauthServer } from './oauth.mjs';
import { mailServer } from './mail.mjs';

const [directory, tls] = process.argv.slice(2);
const mailbox = 'robot@example.com';
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.server ?? server).address().port)));
let mode = 'well';

// Answers in place of the OAuth 2.0 server, by mode. A secret in a broken answer must not reach a log either.
const broken = {
    'token-down': [503, 'text/html', '<html>down for maintenance</html>'],
    'token-garbage': [200, 'application/json', '{"access_token": "marked-broken-access-token", "refresh_token": "marked-broken-refresh-token", '],
    'token-denied': [400, 'application/json', '{"error": "invalid_grant", "error_description": "the grant was revoked"}'],
    'token-odd': [200, 'application/json', '{"access_token": "marked-broken-access-token", "expires_in": "soon"}'],
};

// The OAuth 2.0 server needs its address before it exists, so the socket comes first.
let answer;
const http = createServer((request, response) => answer(request, response));
const issuer = `http://127.0.0.1:${await listen(http)}`;
const certificate = process.env.CLIENT_CERTIFICATE;
const oauth = await oauthServer({
    issuer,
    mailbox,
    say,
    secret: process.env.CLIENT_SECRET,
    authentication: process.env.CLIENT_AUTHENTICATION ?? 'client_secret_post',
    certificate: certificate && readFileSync(certificate),
    redirects: (process.env.REDIRECT_URLS ?? 'http://127.0.0.1/oauth/callback').split(' '),
    life: Number(process.env.ACCESS_TOKEN_LIFE ?? 3600),
});

answer = async (request, response) => {
    if (request.method === 'PUT' && request.url.startsWith('/mode/')) {
        mode = request.url.slice('/mode/'.length);
        response.writeHead(204).end();
    } else if (request.method === 'PUT' && request.url === '/forget') {
        await oauth.forget();
        hangUp();
        response.writeHead(204).end();
    } else if (request.method === 'PUT' && request.url.startsWith('/life/')) {
        oauth.live(Number(request.url.slice('/life/'.length)));
        response.writeHead(204).end();
    } else if (request.method === 'PUT' && request.url === '/grant') {
        response.end(await oauth.consented());
    } else if (request.url === '/token' && broken[mode]) {
        const [status, type, body] = broken[mode];
        request.resume().on('end', () => response.writeHead(status, { 'content-type': type }).end(body));
    } else {
        oauth.answer(request, response);
    }
};

const { smtp, hangUp } = mailServer({
    directory,
    say,
    secure: tls === 'implicit',
    cert: readFileSync(join(directory, 'cert.pem')),
    key: readFileSync(join(directory, 'key.pem')),
    mode: () => mode,
    mayLogIn: async (user, token) => user === mailbox && (await oauth.serves(token, user)),
});
const port = await listen(smtp);
say({ event: 'ready', oauth: issuer, smtp: `127.0.0.1:${port}`, refresh: await oauth.consented() });
process.stdin.resume().on('end', () => process.exit(0)); // Ends with the test that started it.
