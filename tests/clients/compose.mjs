// Sends a mail with nodemailer: SETTINGS (JavaScript that makes `transport`) FROM SUBJECT TEXT-FILE RECIPIENT...
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const [settings, from, subject, file, ...to] = process.argv.slice(2);
const chatty = { createTransport: (options) => nodemailer.createTransport({ logger: true, debug: true, ...options }) };
const transport = new Function('nodemailer', `${readFileSync(settings)}\nreturn transport;`)(chatty);
try {
    await transport.sendMail({ from, to, subject, text: readFileSync(file, 'utf8') });
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
} finally {
    transport.close();
}
