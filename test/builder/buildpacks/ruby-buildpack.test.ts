import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const here = (await execa('ruby', ['-e', 'print RUBY_VERSION'], { reject: false })).stdout;
const skip = here === '' && 'needs the Debian packages ruby and ruby-bundler';
const minor = here.split('.').slice(0, 2).join('.');
/** No server with gems answers here. */
const offline = { BUNDLE_MIRROR__ALL: 'http://127.0.0.1:9/', BUNDLE_RETRY: '0' };
const lock = (gems: string, wants: string) =>
  `GEM\n  remote: https://rubygems.org/\n  specs:\n${gems}\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n${wants}\nBUNDLED WITH\n   2.4.10\n`;

for (const [title, files, starts] of [
  [
    'config.ru under the puma of the Gemfile',
    { Gemfile: 'gem "puma"\ngem "rack"\n', 'config.ru': 'run 1' },
    'bundle exec puma -b tcp://0.0.0.0:$PORT',
  ],
  ['a classic Sinatra program', { 'hello.rb': 'require "sinatra"\nget("/") { "hello" }\n' }, 'ruby hello.rb'],
  ['a program that listens by itself', { 'serve.rb': 'port = ENV.fetch("PORT", 4567)\n' }, 'ruby serve.rb'],
] as const) {
  test(`ruby: the web process starts ${title}`, { skip }, async () => {
    await using source = await ASource.of(files);
    assert.equal((await source.run('ruby', 'detect')).code, 0);
    const built = await source.run('ruby', 'build', offline);
    assert.equal(built.code, 0, built.output);
    assert.deepEqual(await source.processes(), { web: ['bash', '-c', `exec ${starts}`] });
  });
}

test('ruby: the assets of Rails are compiled with a dummy secret, and the Rails server listens on $PORT', {
  skip,
}, async () => {
  const rails =
    'Gem::Specification.new { |s| s.name = "NAME"; s.version = "8.0.0"; s.summary = "x"; s.authors = ["x"]; s.files = [] }';
  await using source = await ASource.of({
    Gemfile:
      'gem "railties", path: "vendor/railties"\ngem "propshaft", path: "vendor/propshaft"\ngem "rake"\n',
    'vendor/railties/railties.gemspec': rails.replace('NAME', 'railties'),
    'vendor/propshaft/propshaft.gemspec': rails.replace('NAME', 'propshaft'),
    'bin/rails': '#!/usr/bin/env ruby\n',
    Rakefile:
      'namespace(:assets) { task(:precompile) { puts ENV.values_at("RAILS_ENV", "SECRET_KEY_BASE").join(" ") } }\n',
  });
  const built = await source.run('ruby', 'build', offline);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /Compiling assets\n\s+production dummy/);
  assert.match(
    (await source.processes())['web']?.[2] ?? '',
    /^exec bundle exec rails server -b 0\.0\.0\.0 -p \$PORT/,
  );
});

test('ruby: the Ruby of the server is used if only its patch version differs from the version in the Gemfile, and Bundler accepts this Ruby', {
  skip,
}, async () => {
  await using source = await ASource.of({
    Gemfile: `ruby "${minor}.99"\n`,
    '.ruby-version': `${minor}.99\n`,
    'app.rb': 'puts ENV["PORT"]\n',
    'service.template': 'type: ruby2.7\n',
  });
  assert.equal((await source.run('ruby', 'detect')).output.split('\n')[0], `ruby ${minor}.99 (Gemfile)`);
  const built = await source.run('ruby', 'build', offline);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /Gemfile line 1 asks for Ruby .*\.99\. .* is used/);
  assert.match(
    built.output,
    / ! {5}service\.template asks for Ruby 2\.7, but this server has only Ruby .*\. It uses Ruby .*\./,
  );
  assert.equal(await readFile(join(source.folder, '.ruby-version'), 'utf8'), `${here}\n`);
});

for (const [title, files, says] of [
  [
    'a Ruby that is not available',
    { Gemfile: 'source "https://rubygems.org"\nruby "2.7.4"\n', 'config.ru': 'run 1' },
    / ! {5}Gemfile line 2 asks for Ruby 2\.7\.4, but this server has only Ruby \d\.\d: write ruby "~> \d\.\d" there/,
  ],
  [
    'a range without the Ruby of the server',
    { Gemfile: 'ruby "~> 9.1", ">= 9.1.2"\n', 'config.ru': 'run 1' },
    / ! {5}Gemfile line 1 asks for Ruby ~> 9\.1, >= 9\.1\.2, but this server has only Ruby/,
  ],
  [
    'a .ruby-version that is not available',
    { '.ruby-version': 'ruby-2.3.1\n', 'config.ru': 'run 1' },
    / ! {5}\.ruby-version asks for Ruby 2\.3\.1, .* write \d\.\d into \.ruby-version, if your code also runs on it, and commit the file\.$/m,
  ],
  [
    'a .ruby-version that is misspelt',
    { '.ruby-version': 'three\n', 'config.ru': 'run 1' },
    / ! {5}\.ruby-version is not a version of Ruby: “three”/,
  ],
  [
    'another implementation of Ruby',
    { Gemfile: 'ruby "2.5.7", engine: "jruby", engine_version: "9.2.9.0"\n', 'config.ru': 'run 1' },
    / ! {5}Gemfile line 1 asks for .*jruby.*, which is not available/,
  ],
  [
    'a Gemfile that is no Ruby',
    { Gemfile: 'gem "rack\n', 'config.ru': 'run 1' },
    / ! {5}Gemfile cannot be read: /,
  ],
  [
    'a lock file that does not match the Gemfile',
    {
      Gemfile: 'source "https://rubygems.org"\ngem "rack"\ngem "sinatra"\n',
      'Gemfile.lock': lock('    rack (2.2.0)\n', '  rack\n'),
      'config.ru': 'run 1',
    },
    / ! {5}Gemfile and Gemfile\.lock do not match\. Run `bundle install`/,
  ],
  [
    'a server with gems that cannot be reached',
    {
      Gemfile: 'source "https://rubygems.org"\ngem "no-such-gem"\n',
      'Gemfile.lock': lock('    no-such-gem (1.0.0)\n', '  no-such-gem\n'),
      'config.ru': 'run 1',
    },
    / ! {5}The server with the gems cannot be reached: (?!.*Check your network).*\. Push again later/,
  ],
  [
    'a config.ru without a server',
    { Gemfile: 'gem "rake"\n', 'config.ru': 'run 1' },
    / ! {5}config\.ru needs a web server, but the Gemfile names none\. Run `bundle add puma`/,
  ],
] as const) {
  test(`ruby: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await ASource.of(files);
    const built = await source.run('ruby', 'build', offline);
    assert.equal(built.code, 1, built.output);
    assert.match(built.output, says);
  });
}

test('ruby: Jekyll builds the site and serves it if the Gemfile also has webrick', { skip }, async () => {
  const gem = (name: string) =>
    `Gem::Specification.new { |s| s.name = "${name}"; s.version = "1"; s.summary = s.author = "x"; s.files = []; s.bindir = "exe"; s.executables = ["jekyll"] }\n`;
  const files = {
    Gemfile: 'gem "jekyll", path: "jekyll"\n',
    '_config.yml': 'title: Words\n',
    'jekyll/jekyll.gemspec': gem('jekyll'),
    'jekyll/exe/jekyll': 'puts "jekyll #{ARGV.join(" ")} in #{ENV["JEKYLL_ENV"]}"\n',
  };
  await using without = await ASource.of(files);
  const refused = await without.run('ruby', 'build', offline);
  assert.match(refused.output, / ! {5}Jekyll needs webrick to serve the site\. Run `bundle add webrick`/);
  await using source = await ASource.of({
    ...files,
    Gemfile: `${files.Gemfile}gem "webrick", path: "webrick"\n`,
    'webrick/webrick.gemspec': gem('webrick').replace('["jekyll"]', '[]'),
  });
  const built = await source.run('ruby', 'build', offline);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /^ {7}jekyll build --trace in production$/m);
  assert.match(
    built.output,
    /web: bundle exec jekyll serve --skip-initial-build --no-watch --host 0\.0\.0\.0 --port \$PORT/,
  );
});

test('ruby: a Gemfile of a tool in another language is not used', { skip }, async () => {
  await using source = await ASource.of({ Gemfile: 'gem "jekyll"\n', 'requirements.txt': '' });
  const { code, output } = await source.run('ruby', 'detect');
  assert.deepEqual([code, output], [100, 'note: Gemfile is not used, because there is no Ruby program']);
});
