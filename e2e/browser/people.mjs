// Plays people who are not operators in a browser: they log in, decide, talk and log out.
//
//   node people.mjs BASE DIRECTORY <<< '{"tokens": {"ann": …, "bob": …}, "approve": ID, "race": ID, "other": ID, "look": ID}'
//
// BASE is where the pages are, DIRECTORY where screenshots go. What is wrong goes to stderr,
// and ends it with 1.
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { AxeBuilder } from '@axe-core/playwright';

const [base, shots] = process.argv.slice(2);
const { tokens, ...tasks } = JSON.parse(readFileSync(0, 'utf8'));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const wrong = [];
const expect = (met, what) => { if (!met) wrong.push(what); };

async function visit(options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('console', (m) => { if (/Content.Security.Policy/i.test(m.text())) wrong.push(`policy violated at ${page.url()}: ${m.text()}`); });
  page.on('pageerror', (e) => wrong.push(`${page.url()}: ${e}`));
  return page;
}

async function judge(page, what, rules) {
  const axe = new AxeBuilder({ page });
  if (rules) axe.withRules(rules);
  const found = await axe.analyze();
  for (const v of found.violations) {
    if (['serious', 'critical'].includes(v.impact)) wrong.push(`${what}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ')}`);
  }
}

async function enter(page, token) {
  await page.fill('#token', token);
  await page.click('main button:has-text("Log in")');
}

// A link in a mail leads to its task, by way of the log-in, without a script.
{
  const page = await visit({ javaScriptEnabled: false });
  await page.goto(`${base}/tasks/${tasks.approve}`);
  expect(page.url().startsWith(`${base}/login`), `a link leads to ${page.url()} before the log-in`);
  await enter(page, 'a wrong token');
  expect((await page.textContent('[role=alert]')).includes("nobody's token"), 'a wrong token is not told so');
  await enter(page, tokens.ann);
  await page.waitForURL(`${base}/tasks/${tasks.approve}`);
  expect((await page.textContent('.who')).includes('Ann Lee'), 'the page does not say who is in');
  expect(await page.locator('a[href^="/intents"]').count() === 0, 'the page leads to those of operators');
  await page.click('summary:has-text("Comment")');
  await page.fill('#message', 'Which trip was this?');
  await page.click('button:has-text("Send the comment")');
  await page.waitForURL('**?said*');
  expect((await page.textContent('.timeline')).includes('Which trip was this?'), 'the comment is not shown');
  await page.click('summary:has-text("Pass it on")');
  await page.fill('#delegate_to', 'acme/people/legal');
  await page.click('.talk button:has-text("Pass it on")');
  await page.waitForSelector('.timeline >> text=Passed on to acme/people/legal');
  await page.goto(`${base}/inbox`);
  await page.click(`a[href="/tasks/${tasks.approve}"]`);
  await page.click('button:has-text("Approve")');
  await page.waitForURL('**decided');
  expect((await page.textContent('[role=status]')).includes('You decided: Approved'), 'the page does not say what was decided');
  const other = await page.goto(`${base}/tasks/${tasks.other}`);
  expect(other.status() === 404, `a task of others is answered ${other.status()}`);
  await page.click('.who button');
  await page.waitForURL(`${base}/login`);
  await page.goto(`${base}/inbox`);
  expect(page.url().startsWith(`${base}/login`), 'after the log-out pages are shown');
  await page.context().close();
}

// Two at once: the second hears who was first, and when.
{
  const [ann, bob] = [await visit({}), await visit({})];
  for (const [page, token] of [[ann, tokens.ann], [bob, tokens.bob]]) {
    await page.goto(`${base}/tasks/${tasks.race}`);
    await enter(page, token);
    await page.waitForURL(`${base}/tasks/${tasks.race}`);
  }
  await bob.fill('#comment', 'Too dear');
  await ann.click('button:has-text("Approve")');
  await ann.waitForURL('**decided');
  await bob.click('button:has-text("Reject")');
  await bob.waitForSelector('[role=status]');
  const said = await bob.textContent('[role=status]');
  expect(said.includes('Somebody was faster') && said.includes('ann@acme.example') && await bob.locator('[role=status] time').count() === 1, `who came second reads: ${said}`);
  await bob.screenshot({ path: `${shots}/people-beaten.png`, fullPage: true });
  for (const page of [ann, bob]) await page.context().close();
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1200, 360]) {
    const page = await visit({ colorScheme, viewport: { width, height: 800 } });
    const look = async (name) => {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide <= width, `${name} is ${wide} wide on a screen of ${width}`);
      if (colorScheme === 'light' && width > 360) await judge(page, name);
      if (colorScheme === 'dark' && width === 360) await judge(page, `${name}, dark and narrow`, ['color-contrast', 'target-size']);
      await page.screenshot({ path: `${shots}/people-${name}-${colorScheme}-${width}.png`, fullPage: true });
    };
    await page.goto(`${base}/login?to=/tasks/${tasks.look}`);
    const all = (colorScheme === 'light') === (width > 360); // one page for the other two looks
    if (all) {
      await enter(page, 'a wrong token');
      await page.waitForSelector('[role=alert]');
    }
    if (all) await look('login');
    await enter(page, tokens.bob);
    await page.waitForURL(`${base}/tasks/${tasks.look}`);
    for (const s of await page.locator('.talk summary').all()) await s.click();
    await look('task');
    if (all) {
      await page.goto(`${base}/inbox`);
      await look('inbox');
    }
    await page.context().close();
  }
}
await browser.close();
for (const w of wrong) console.error(w);
process.exit(wrong.length > 0 ? 1 : 0);
