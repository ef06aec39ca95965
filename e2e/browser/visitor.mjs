// What the scripts here have in common: a browser whose pages are watched and judged, and
// people who decide in it.
import { chromium } from 'playwright-core';
import { AxeBuilder } from '@axe-core/playwright';

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
const wrong = [];

export const expect = (met, what) => { if (!met) wrong.push(what); };

// visit opens a context whose pages are watched for what the browser refuses to load or run.
export async function visit(options) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(60_000);
  const page = await context.newPage();
  page.on('console', (m) => { if (/Content.Security.Policy/i.test(m.text())) wrong.push(`policy violated at ${page.url()}: ${m.text()}`); });
  page.on('pageerror', (e) => wrong.push(`${page.url()}: ${e}`));
  page.on('dialog', (d) => { wrong.push(`${page.url()} opened a dialog: ${d.message()}`); d.dismiss(); });
  return page;
}

export async function judge(page, what, rules) {
  const axe = new AxeBuilder({ page });
  if (rules) axe.withRules(rules);
  const found = await axe.analyze();
  for (const v of found.violations) {
    if (['serious', 'critical'].includes(v.impact)) wrong.push(`${what}: ${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ')}`);
  }
}

// take opens, from the inbox, the task of a title.
export async function take(page, base, title) {
  await page.goto(`${base}/inbox`);
  await page.click(`a.task:has-text("${title}")`);
}

// press decides the task that is open, by a button.
export async function press(page, button, comment) {
  if (comment) await page.fill('#comment', comment);
  await page.click(`button:has-text("${button}")`);
  await page.waitForURL('**decided');
}

// leave ends the script: with 1 and a line for each thing that was wrong, if any was.
export async function leave() {
  await browser.close();
  for (const w of wrong) console.error(w);
  process.exit(wrong.length > 0 ? 1 : 0);
}
