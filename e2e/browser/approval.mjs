// Plays manager and finance, who approve one after the other what the README sends.
//
//   node approval.mjs BASE PICTURE
//
// BASE is where the pages are. PICTURE is a file for what finance sees; its words go to stdout.
import { judge, leave, press, take, visit } from './visitor.mjs';

const [base, picture] = process.argv.slice(2);
const page = await visit({ viewport: { width: 960, height: 600 }, colorScheme: 'light', locale: 'en-GB' });
for (const who of ['manager', 'finance']) {
  await take(page, base, 'Approve invoice.pay.v1');
  await page.waitForSelector(`aside li:has-text("${who}"):has-text("This decision")`);
  if (who === 'finance') {
    await judge(page, 'approval');
    await page.screenshot({ path: picture, fullPage: true });
    console.log(await page.innerText('main'));
  }
  await press(page, 'Approve');
}
await leave();
