// A provider made of programs that are not ours: oidc-provider as its OAuth 2.0 server, nodemailer's smtp-server with XOAUTH2 over
// TLS as its mail server. Arguments: DIRECTORY (cert.pem and key.pem in, messages out) and starttls|implicit; the client secret comes
// in the environment. Prints JSON lines: ready, token (each one issued, so that a test can look for it), login, received.
//
// PUT /mode/NAME on the OAuth port makes it misbehave until PUT /mode/well.
import { createServer } from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Provider from 'oidc-provider';
import { SMTPServer } from 'smtp-server';

const [directory, tls] = process.argv.slice(2);
const mailbox = 'robot@example.com';
const clientId = 'outlink';
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n');
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.server ?? server).address().port)));
let mode = 'well';

// The OAuth 2.0 server needs its address before it exists, so the socket comes first.
let answer;
const http = createServer((request, response) => answer(request, response));
const oauthPort = await listen(http);
const oauth = new Provider(`http://127.0.0.1:${oauthPort}`, {
    clients: [{
        client_id: clientId,
        client_secret: process.env.CLIENT_SECRET,
        token_endpoint_auth_method: process.env.CLIENT_AUTHENTICATION ?? 'client_secret_post',
        grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
        redirect_uris: ['http://127.0.0.1:8025/oauth/callback'],
    }],
    scopes: ['openid', 'offline_access', 'mail.send'],
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    // The old refresh token is spent at once, and using it again ends the grant: whoever forgets a rotated one is found out.
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 3600, RefreshToken: 86400, Grant: 86400 },
    cookies: { keys: ['test'] },
});

// Answers in place of the OAuth 2.0 server, by mode. A secret in a broken answer must not reach a log either.
const broken = {
    'token-down': [503, 'text/html', '<html>down for maintenance</html>'],
    'token-garbage': [200, 'application/json', '{"access_token": "marked-broken-access-token", "refresh_token": "marked-broken-refresh-token", '],
    'token-denied': [400, 'application/json', '{"error": "invalid_grant", "error_description": "the grant was revoked"}'],
    'token-odd': [200, 'application/json', '{"access_token": "marked-broken-access-token", "expires_in": "soon"}'],
};

const issue = oauth.callback();
answer = (request, response) => {
    if (request.method === 'PUT' && request.url.startsWith('/mode/')) {
        mode = request.url.slice('/mode/'.length);
        response.writeHead(204).end();
    } else if (request.url === '/token' && broken[mode]) {
        const [status, type, body] = broken[mode];
        request.resume().on('end', () => response.writeHead(status, { 'content-type': type }).end(body));
    } else {
        issue(request, response);
    }
};
oauth.on('grant.success', ({ body }) => say({ event: 'token', access: body.access_token, refresh: body.refresh_token }));
oauth.on('grant.error', (_, error) => say({ event: 'token-refused', error: error.error }));

const grant = new oauth.Grant({ accountId: mailbox, clientId });
grant.addOIDCScope('openid offline_access mail.send');
const refresh = new oauth.RefreshToken({
    accountId: mailbox,
    client: await oauth.Client.find(clientId),
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope: 'openid offline_access mail.send',
});

const known = async (token) => Boolean((await oauth.ClientCredentials.find(token)) ?? (await oauth.AccessToken.find(token)));
const refuse = (code, text) => Object.assign(new Error(text), { responseCode: code });
let messages = 0;

const smtp = new SMTPServer({
    secure: tls === 'implicit',
    cert: readFileSync(join(directory, 'cert.pem')),
    key: readFileSync(join(directory, 'key.pem')),
    authMethods: ['XOAUTH2'],
    logger: false,
    async onAuth(auth, _, done) {
        const good = mode !== 'login-refused' && auth.username === mailbox && (await known(auth.accessToken));
        say({ event: 'login', user: auth.username, token: auth.accessToken, good });
        done(null, good ? { user: auth.username } : { data: { status: '401', schemes: 'bearer mac', scope: 'mail.send' } });
    },
    onRcptTo(recipient, _, done) {
        done(recipient.address.startsWith('refused') ? refuse(550, '5.1.1 no such user here') : null);
    },
    onData(stream, session, done) {
        const pieces = [];
        stream.on('data', (piece) => pieces.push(piece));
        stream.on('end', () => {
            if (mode === 'message-refused') return done(refuse(554, '5.6.0 not this one'));
            const file = join(directory, `${++messages}.eml`);
            writeFileSync(file, Buffer.concat(pieces));
            const { mailFrom, rcptTo } = session.envelope;
            say({ event: 'received', from: mailFrom.address, to: rcptTo.map((recipient) => recipient.address), file });
            done(null, '2.0.0 taken');
        });
    },
});
smtp.on('error', () => {}); // A client that leaves in the middle is what some tests want.
const smtpPort = await listen(smtp);
say({ event: 'ready', oauth: `http://127.0.0.1:${oauthPort}`, smtp: `127.0.0.1:${smtpPort}`, refresh: await refresh.save() });
process.stdin.resume().on('end', () => process.exit(0)); // Ends with the test that started it.
