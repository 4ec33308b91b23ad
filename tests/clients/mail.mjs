// nodemailer's smtp-server with XOAUTH2 over TLS; writes each message to a file. `refused…@` is no recipient of it.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';

const refuse = (code, text) => Object.assign(new Error(text), { responseCode: code });

export function mailServer({ directory, say, secure, cert, key, mode, mayLogIn }) {
    let messages = 0;
    const smtp = new SMTPServer({
        secure,
        cert,
        key,
        authMethods: ['XOAUTH2'],
        logger: false,
        async onAuth({ username, accessToken }, _, done) {
            const good = mode() !== 'login-refused' && (await mayLogIn(username, accessToken));
            say({ event: 'login', user: username, token: accessToken, good });
            done(null, good ? { user: username } : { data: { status: '401', schemes: 'bearer mac', scope: 'mail.send' } });
        },
        onRcptTo(recipient, _, done) {
            done(recipient.address.startsWith('refused') ? refuse(550, '5.1.1 no such user here') : null);
        },
        onData(stream, session, done) {
            const pieces = [];
            stream.on('data', (piece) => pieces.push(piece));
            stream.on('end', () => {
                if (mode() === 'message-refused') return done(refuse(554, '5.6.0 not this one'));
                const file = join(directory, `${++messages}.eml`);
                writeFileSync(file, Buffer.concat(pieces));
                const { mailFrom, rcptTo } = session.envelope;
                say({ event: 'received', from: mailFrom.address, to: rcptTo.map((recipient) => recipient.address), file });
                done(null, '2.0.0 taken');
            });
        },
    });
    smtp.on('error', () => {}); // A client that leaves in the middle is what some tests want.
    const sockets = new Set();
    smtp.server.on('connection', (socket) => sockets.add(socket.on('close', () => sockets.delete(socket))));
    return { smtp, hangUp: () => sockets.forEach((socket) => socket.destroy()) };
}
