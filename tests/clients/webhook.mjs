// Receives webhooks and verifies them with the library of Standard Webhooks: SECRET... (any of them may have signed; one without
// `whsec_` is taken as it is). A JSON line `ready` with its address, then one a request: `hook` with path, id, whether it is verified, and
// the event. By path: /good takes it, /never does not answer, /twice fails twice before it takes it, /refuse answers 401.
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const verifiers = process.argv.slice(2).map((secret) => new Webhook(secret, secret.startsWith('whsec_') ? {} : { format: 'raw' }));
const failures = new Map();

function verify(body, headers) {
    const problems = [];
    for (const verifier of verifiers) {
        try {
            return { verified: true, body: verifier.verify(body, headers) };
        } catch (error) {
            problems.push(error.message);
        }
    }
    return { verified: false, problems, body: JSON.parse(body) };
}

const server = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
        const id = request.headers['webhook-id'];
        const path = request.url.split('?')[0];
        say({ event: 'hook', path, id, type: request.headers['content-type'], ...verify(Buffer.concat(pieces).toString(), request.headers) });
        if (path === '/never') return;
        let status = path === '/refuse' ? 401 : 204;
        if (path === '/twice') {
            const failed = failures.get(id) ?? 0;
            failures.set(id, failed + 1);
            if (failed < 2) status = 503;
        }
        response.writeHead(status).end();
    });
});
server.listen(0, '127.0.0.1', () => say({ event: 'ready', address: `127.0.0.1:${server.address().port}` }));
process.stdin.on('end', () => process.exit()).resume();
