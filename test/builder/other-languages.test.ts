import assert from 'node:assert/strict';
import { test } from 'node:test';
import { otherLanguage } from '../../src/builder/other-languages.ts';

test('if a file of the source belongs to a language without a buildpack, the server names the language and the file; a README or LICENSE stands for no language', () => {
  for (const [files, language, file] of [
    [['README.md', 'project.clj', 'src'], 'Clojure', 'project.clj'],
    [['Wikibot.csproj', 'Program.cs'], '.NET', 'Wikibot.csproj'],
    [['bot.cs', 'jobs.yaml'], '.NET', 'bot.cs'],
    [['mix.exs', 'lib'], 'Elixir', 'mix.exs'],
    [['deno.json', 'main.ts'], 'Deno', 'deno.json'],
    [['wikibot.cabal', 'Setup.hs'], 'Haskell', 'wikibot.cabal'],
    [['app.R', 'www'], 'R', 'app.R'],
    [['server.tcl'], 'Tcl', 'server.tcl'],
    [['README.md', 'analysis.ipynb'], 'Jupyter', 'analysis.ipynb'],
    // A script beside a manifest is not the language of the tool.
    [['build.lua', 'shard.yml'], 'Crystal', 'shard.yml'],
  ] as const)
    assert.deepEqual(otherLanguage(files), { language, file });
  assert.equal(otherLanguage(['README.md', 'LICENSE', 'notes.txt']), null);
});
