// Plays an operator in a browser without scripts, by keyboard where it matters, and judges
// each page they see.
//
//   node operators.mjs BASE DIRECTORY ID
//
// BASE is where the pages are, DIRECTORY where screenshots go, ID a dead letter that is to
// be redriven; three others of the same kind are to be purged. What is wrong goes to stderr,
// and ends it with 1.
import { chromium } from 'playwright-core';
import { AxeBuilder } from '@axe-core/playwright';

const [base, shots, id] = process.argv.slice(2);
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

// look judges a page as it is: nothing runs out of it, and axe finds nothing serious.
async function look(page, name, width, rules) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  expect(wide <= width, `${name} is ${wide} wide on a screen of ${width}`);
  const axe = new AxeBuilder({ page });
  if (rules) axe.withRules(rules);
  for (const v of (await axe.analyze()).violations) {
    if (['serious', 'critical'].includes(v.impact)) wrong.push(`${name}, ${width} wide: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ')}`);
  }
  await page.screenshot({ path: `${shots}/${name}-${width}.png`, fullPage: true });
}

const looks = {
  overview: '/', dead: '/dead-letters', kind: '', redrive: `/dead-letters/redrive?id=${id}`, purge: '', intent: `/intents/${id}`, list: '/intents', held: '/dead-letters?show=waiting',
};
{
  const page = await visit({ javaScriptEnabled: false });
  await page.goto(base + looks.dead);
  looks.kind = await page.getAttribute('a[href^="/dead-letters?agent="]', 'href');
  looks.purge = await page.getAttribute('a:has-text("Purge…")', 'href');
  await page.context().close();
}
for (const [colorScheme, width, rules] of [['light', 1200], ['dark', 360, ['color-contrast', 'target-size', 'scrollable-region-focusable', 'label']]]) {
  const page = await visit({ colorScheme, viewport: { width, height: 800 } });
  for (const [name, path] of Object.entries(looks)) {
    if (width === 360 && ['redrive', 'kind', 'held'].includes(name)) continue; // they have nothing that the others lack
    await page.goto(base + path);
    await look(page, `operators-${name}-${colorScheme}`, width, rules);
  }
  await page.context().close();
}

const page = await visit({ javaScriptEnabled: false });
// From what needs attention to the dead letters, and one of them is redriven.
await page.goto(base);
await page.click('a:has-text("Show the dead letters")');
await page.check(`input[value="${id}"]`);
await page.click('button:has-text("Redrive selected")');
expect((await page.textContent('h1')).includes('Redrive this dead letter?'), 'a redrive is not asked for first');
await page.click('button:has-text("Redrive this dead letter")');
await page.waitForURL(`**/intents/${id}?*`);
expect(/1 dead letter redriven, as [0-9a-f-]{36}\./.test(await page.textContent('[role=status]')), 'the page does not say what was done');
expect(await page.locator('a:has-text("Redrive…")').count() === 0, 'what has a successor can be redriven again');

// The others are purged, by keyboard: a number that is none of them first, then theirs.
await page.goto(base + looks.purge);
for (const [typed, done] of [['9', '[role=alert]'], ['3', '[role=status]']]) {
  for (let i = 0; i < 40 && await page.locator('#confirm:focus').count() === 0; i++) await page.keyboard.press('Tab');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(typed);
  await page.keyboard.press('Enter');
  await page.waitForSelector(done);
}
expect((await page.textContent('[role=status]')).includes('3 dead letters removed for good.'), 'the page does not say what was removed');
expect((await page.textContent('main')).includes('No dead letters'), 'they are still listed');
await page.goto(base);
expect(!(await page.textContent('main')).includes('Intents ended undelivered'), 'dead letters need attention, and there are none');
await browser.close();
for (const w of wrong) console.error(w);
process.exit(wrong.length > 0 ? 1 : 0);
