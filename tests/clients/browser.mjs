// A person with a browser: Chromium goes to a provider's page, signs in, allows or denies, and ends where the provider sends it. One
// argument, JSON: url, directory (for its profile), account, answer (allow|deny), code (what a device shows), hosts (where names, or
// hosts with ports, lead: {"relay.example.com": "127.0.0.1:4433"}), certificate (a PEM file that it trusts), whole (tell the whole
// address, with its secrets). Prints one JSON line: url, keys (of its query), title, text of the last page; `unreachable` where
// nobody answered. Nothing outside of this machine is asked for anything.
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const person = JSON.parse(process.argv[2]);
const provider = new URL(person.url).origin;
const step = 20_000; // For each page: a machine that compiles beside this is slow.

const trusted = (file) => createHash('sha256').update(new X509Certificate(readFileSync(file)).publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
const rules = Object.entries(person.hosts ?? {}).map(([name, place]) => `MAP ${name} ${place}`);
const browser = await puppeteer.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    pipe: true, // It ends with this program, however that ends.
    userDataDir: join(person.directory, 'browser'),
    env: { ...process.env, HOME: person.directory, XDG_CONFIG_HOME: person.directory, XDG_CACHE_HOME: person.directory },
    args: [
        '--no-sandbox', // CI is root; and the pages are our own.
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-proxy-server',
        `--host-resolver-rules=${[...rules, 'MAP 127.0.0.1 127.0.0.1', 'MAP localhost localhost', 'MAP * ~NOTFOUND'].join(', ')}`,
        ...(person.certificate ? [`--ignore-certificate-errors-spki-list=${trusted(person.certificate)}`] : []),
    ],
    timeout: step,
});

// What the address bar shows, also of a page that could not be had.
async function address(page) {
    const session = await page.createCDPSession();
    const { currentIndex, entries } = await session.send('Page.getNavigationHistory');
    await session.detach();
    return new URL(entries[currentIndex].url);
}

// What there is to do on a page of the provider, in this order; the first whose element is there is done, each once: a page that comes
// again is where it ends (a device's form after the consent was denied).
const todo = [
    ['input[name="user_code"]:not([type="hidden"])', async (field) => { await field.type(person.code); await field.press('Enter'); }],
    ['input[name="login"]', async (field, page) => {
        await field.evaluate((element) => { element.value = ''; });
        await field.type(person.account);
        await page.type('input[name="password"]', 'any');
        await page.click('button[type="submit"]');
    }],
    ['input[name="prompt"][value="consent"]', (_, page) =>
        person.answer === 'deny' ? page.click('.login-help a') : page.click('button[type="submit"]')],
    ['input[name="confirm"]', (_, page) => page.click('button[type="submit"]')],
];

const done = new Set();

async function next(page) {
    for (const [selector, act] of todo) {
        const element = await page.$(selector);
        if (!element) continue;
        if (done.has(selector)) return undefined;
        done.add(selector);
        return () => act(element, page);
    }
    return undefined;
}

// Does `act`, and waits until the page after it is there. One that nobody serves is an end like others: the address tells.
async function turn(page, act) {
    const arrived = page.waitForNavigation({ waitUntil: 'load', timeout: step });
    const unreachable = (error) => {
        if (!String(error.message).startsWith('net::')) throw error;
    };
    await Promise.all([arrived.catch(unreachable), act()]);
}

try {
    const page = await browser.newPage();
    await turn(page, () => page.goto(person.url, { timeout: step }).catch(() => {}));
    let act;
    while ((await address(page)).origin === provider && (act = await next(page))) await turn(page, act);
    const last = await address(page);
    const unreachable = page.url().startsWith('chrome-error:');
    process.stdout.write(JSON.stringify({
        event: 'landed',
        url: person.whole ? last.href : last.origin + last.pathname,
        keys: [...last.searchParams.keys()],
        unreachable,
        title: unreachable ? '' : await page.title(),
        text: unreachable ? '' : await page.evaluate(() => document.body.innerText),
    }) + '\n');
} finally {
    await browser.close();
}
