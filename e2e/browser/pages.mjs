// Plays people in a browser, with its scripts and without, and judges each page they see.
//
//   node pages.mjs BASE DIRECTORY <<< '{"scripted": {…}, "plain": {…}, "hostile": ID}'
//
// BASE is where the pages are, DIRECTORY where screenshots go. What is wrong goes to stderr,
// and ends it with 1.
import { readFileSync } from 'node:fs';
import { expect, judge, leave, press, take, visit } from './visitor.mjs';

const [base, shots] = process.argv.slice(2);
const tasks = JSON.parse(readFileSync(0, 'utf8'));

// decide plays the journeys of one person: to approve, to reject, to fill in a form wrongly and then right,
// and to approve two times in turn, or only once.
async function decide(page, ids, scripted) {
  await page.goto(`${base}/inbox`);
  await page.click(`a[href="/tasks/${ids.approve}"]`);
  await page.click('button:has-text("Approve")');
  await page.waitForURL('**decided');
  expect((await page.textContent('[role=status]')).includes('You decided: Approved'), 'the page does not say what was decided');

  await page.goto(`${base}/tasks/${ids.reject}`);
  await page.fill('#comment', 'Too dear');
  await page.click('button:has-text("Reject")');
  await page.waitForURL('**decided');
  expect((await page.textContent('[role=status]')).includes('Too dear'), 'the page does not show the comment');

  await page.goto(`${base}/tasks/${ids.form}`);
  await page.fill('[name="data.limit"]', 'twelve');
  await page.check('label:has-text("goods")');
  await page.click('button:has-text("Submit")');
  await page.waitForSelector('[role=alert]');
  if (scripted) await judge(page, 'form with faults');
  expect((await page.textContent('[id="data.iban-error"]')).includes('required'), 'an empty required field is not told so');
  expect(await page.inputValue('[name="data.limit"]') === 'twelve', 'what was typed is gone');
  await page.screenshot({ path: `${shots}/faults-${scripted ? 'scripts' : 'plain'}.png`, fullPage: true });
  await page.fill('[name="data.limit"]', '1200');
  await page.fill('[name="data.iban"]', 'DE02120300000000202051');
  await press(page, 'Submit', 'Checked by telephone');

  for (const [title, second, comment] of [[ids.passed, 'Approve', ''], [ids.refused, 'Reject', 'No invoice']]) {
    await take(page, base, title);
    expect((await page.textContent('table.facts')).includes('Nordwind'), `${title}: the page does not say what it is about`);
    await press(page, 'Approve', 'Within budget');
    await take(page, base, title);
    expect((await page.textContent('aside')).includes('✓ Approved'), `${title}: the page does not say that manager has approved`);
    await press(page, second, comment);
  }
}

for (const scripted of [true, false]) {
  const page = await visit({ javaScriptEnabled: scripted });
  await decide(page, scripted ? tasks.scripted : tasks.plain, scripted);
  await page.context().close();
}

// By keyboard alone: the first stop leads past the head of the page, and Enter presses a button.
{
  const page = await visit({});
  await page.goto(`${base}/tasks/${tasks.keyboard}`);
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement.className) === 'skip', 'the first stop does not lead to the content');
  for (let i = 0; i < 30 && await page.evaluate(() => document.activeElement.value) !== 'approved'; i++) await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForURL('**decided');
  await page.context().close();
}

// Two at once: the second hears of the first.
{
  const [first, second] = [await visit({}), await visit({})];
  for (const page of [first, second]) await page.goto(`${base}/tasks/${tasks.race}`);
  await first.click('button:has-text("Approve")');
  await first.waitForURL('**decided');
  await second.click('button:has-text("Reject")');
  await second.waitForSelector('[role=status]');
  const said = await second.textContent('[role=status]');
  expect(said.includes('Approved') && !said.includes('You decided'), `who came second reads: ${said}`);
  for (const page of [first, second]) await page.context().close();
}

// Each look of each page: nothing runs out of a narrow one, and colours keep their contrast.
for (const colorScheme of ['light', 'dark']) {
  for (const width of [1200, 360]) {
    const page = await visit({ colorScheme, viewport: { width, height: 800 } });
    for (const [name, path] of Object.entries(tasks.looks)) {
      if ((colorScheme === 'light') === (width === 360) && name !== 'task') continue; // one page for these two looks
      await page.goto(base + path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide <= width, `${name} is ${wide} wide on a screen of ${width}`);
      if (colorScheme === 'light' && width > 360) await judge(page, name);
      if (colorScheme === 'dark' && width === 360) await judge(page, `${name}, dark and narrow`, ['color-contrast', 'target-size']);
      await page.screenshot({ path: `${shots}/${name}-${colorScheme}-${width}.png`, fullPage: true });
    }
    await page.context().close();
  }
}
await leave();
