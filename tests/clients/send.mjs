// Sends one message file with nodemailer: HOST PORT USER PASSWORD PLAIN|LOGIN FROM FILE RECIPIENT...
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const [host, port, user, pass, authMethod, from, file, ...to] = process.argv.slice(2);
const transport = nodemailer.createTransport({ host, port: Number(port), secure: false, ignoreTLS: true, authMethod, auth: { user, pass } });
try {
    const raw = readFileSync(file);
    const sent = await transport.sendMail({ envelope: { from, to, use8BitMime: raw.some((octet) => octet > 127) }, raw });
    if (sent.rejected.length > 0) throw new Error(`rejected: ${sent.rejected}`);
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
} finally {
    transport.close();
}
