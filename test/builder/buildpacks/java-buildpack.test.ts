import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const skip =
  existsSync('/usr/bin/mvn') && existsSync('/usr/bin/javac') ? false : 'maven and a JDK are not installed';

/** The downloads of Maven, which all builds of this file share. */
let downloads: string;
before(async () => {
  downloads = await mkdtemp(join(tmpdir(), 'maven-downloads-'));
});
after(() => rm(downloads, { recursive: true }));

async function aSource(files: Readonly<Record<string, string>>): Promise<ASource> {
  const source = await ASource.of(files);
  await symlink(downloads, join(source.layers, 'repository'));
  return source;
}

const pom = (properties: string, jar = true) => `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId>
  <artifactId>wikibot</artifactId>
  <version>1.0</version>
  <properties>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
    ${properties}
  </properties>
  ${
    jar
      ? `<build><plugins><plugin>
    <artifactId>maven-jar-plugin</artifactId>
    <configuration><archive><manifest><mainClass>org.example.Main</mainClass></manifest></archive></configuration>
  </plugin></plugins></build>`
      : ''
  }
</project>
`;
const main = `package org.example;

public class Main {
  public static void main(String[] args) {
    System.out.println("port " + System.getenv("PORT") + " and " + System.getenv("SERVER_PORT"));
  }
}
`;
const path = 'src/main/java/org/example/Main.java';
const release =
  '<maven.compiler.source>11</maven.compiler.source><maven.compiler.target>11</maven.compiler.target>';

test('java: an executable jar is the web process, and its Java knows the port, the certificates and the memory limit', {
  skip,
}, async () => {
  await using source = await aSource({ 'pom.xml': pom(release), [path]: main });
  assert.equal((await source.run('java', 'detect')).output, 'java 11 (pom.xml)');
  const built = await source.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /-DskipTests package\n(\s+.*\n)*-----> Making a Java runtime\n\s+web: java -jar/,
  );
  const { web = [] } = await source.processes();
  const [command = '', ...args] = web;
  const runtime = join(source.layers, 'runtime');
  const options = {
    cwd: source.folder,
    env: { PATH: `${runtime}/bin:/bin`, PORT: '8123' },
    extendEnv: false,
  };
  assert.equal((await execa(command, args, options)).stdout, 'port 8123 and 8123');

  const store = join(runtime, 'lib/security/cacerts');
  const { stdout: trusted } = await execa(join(runtime, 'bin/keytool'), ['-list', '-keystore', store]);
  const machine = await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8');
  assert.equal(trusted.match(/trustedCertEntry/g)?.length, machine.match(/BEGIN CERTIFICATE/g)?.length);

  const limited = 'ulimit -d $((1024 * 1280)) && java -XX:+PrintFlagsFinal "$@" -version';
  assert.match((await execa('bash', ['-c', limited], options)).stdout, /MaxRAM += 536870912/);
  const withHeap = await execa('bash', ['-c', limited, 'java', '-Xmx77m'], options);
  assert.match(withHeap.stdout, /MaxHeapSize += 81788928/);
});

test('java: without an executable jar, the push says how to name a command, and Tomcat serves a war', {
  skip,
}, async () => {
  await using source = await aSource({
    'pom.xml': pom(release, false),
    [path]: main.replaceAll('PORT', 'WIKI'),
  });
  const goals = { MAVEN_CUSTOM_GOALS: 'validate' };
  const built = await source.run('java', 'build', goals);
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, / !\s+The build made no executable jar, .*add a Procfile/);
  await mkdir(join(source.folder, 'target'));
  await writeFile(join(source.folder, 'target/tool.war'), '');
  const war = await source.run('java', 'build', goals);
  assert.equal(war.code, 0, war.output);
  assert.match(war.output, /web: Tomcat 9\.\S+ for target\/tool\.war/);
  assert.ok(existsSync(join(source.layers, 'tomcat/ServeWar.class')));
});

test('java: without an executable jar, the only class with a main method is the web process if the source looks like a server', {
  skip,
}, async () => {
  await using source = await aSource({ 'pom.xml': pom(release, false), [path]: main });
  const built = await source.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  const start = 'java -cp target/classes:target/dependency/* org.example.Main';
  assert.ok(built.output.includes(`web: ${start} (`), built.output);
  assert.deepEqual(await source.processes(), {
    web: ['bash', '-c', `exec ${start.replace('java', 'java $JAVA_OPTS')}`],
  });
});

const gradlew = `#!/bin/sh
echo "gradle $*"
[ "$GRADLE_TASK" != offline ] || { echo 'Exception in thread "main" java.net.UnknownHostException: gradle.example'; exit 1; }
mkdir -p build/libs
cp "$JAVA_HOME/lib/jrt-fs.jar" build/libs/wikibot-plain.jar
printf 'Main-Class: Main\\n' >manifest.txt && "$JAVA_HOME/bin/jar" cfm build/libs/wikibot.jar manifest.txt manifest.txt
`;

test('java: the tool’s own Gradle wrapper builds the tool; if the wrapper is missing or cannot download Gradle, the build says so', {
  skip,
}, async () => {
  const build =
    "plugins { id 'java' }\njava { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\n";
  const wrapper = 'gradle/wrapper/gradle-wrapper';
  await using without = await ASource.of({ 'build.gradle': build });
  const refused = await without.run('java', 'build');
  assert.match(refused.output, / !\s+This tool has no Gradle of its own: run `gradle wrapper`/);
  await using source = await ASource.of({
    'build.gradle': build,
    gradlew,
    [`${wrapper}.jar`]: '',
    [`${wrapper}.properties`]: 'distributionUrl=https\\://gradle.example/gradle-8.14-bin.zip\n',
  });
  assert.equal((await source.run('java', 'detect')).output, 'java 17 (build.gradle)');
  const offline = await source.run('java', 'build', { GRADLE_TASK: 'offline' });
  assert.notEqual(offline.code, 0);
  assert.match(
    offline.output,
    / !\s+gradlew cannot download https:\/\/gradle\.example\/gradle-8\.14-bin\.zip\. The server/,
  );
  const built = await source.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /gradle --no-daemon --console=plain build -x check/);
  assert.match(built.output, /web: java -jar build\/libs\/wikibot\.jar/);
});

test('java: a program of Dropwizard or Ktor gets the port', { skip }, async () => {
  await using source = await aSource({ gradlew, 'gradle/wrapper/gradle-wrapper.jar': '' });
  const jar = 'build/libs/wikibot.jar';
  const dropwizard = (port: string, after: string) =>
    `export JAVA_OPTS="\${JAVA_OPTS:-} ${port}"; exec java $JAVA_OPTS -jar "$0" server${after}`;
  const simple =
    '-Ddw.server.type=simple -Ddw.server.connector.type=http -Ddw.server.connector.port=$PORT -Ddw.server.applicationContextPath=/';
  for (const [build, files, program] of [
    ['io.ktor.server.netty.EngineMain', {}, 'exec java $JAVA_OPTS -jar "$0" -port=$PORT'],
    ['io.dropwizard', {}, dropwizard(simple, '')],
    [
      'io.dropwizard',
      { 'toolforge.yaml': '', 'example.yml': 'server:\n  applicationConnectors:\n    - port: 8080\n' },
      dropwizard('-Ddw.server.applicationConnectors[0].port=$PORT', ' example.yml'),
    ],
  ] as const) {
    for (const [name, text] of Object.entries({ 'build.gradle': `// ${build} HttpServer\n`, ...files }))
      await writeFile(join(source.folder, name), text);
    const built = await source.run('java', 'build');
    assert.equal(built.code, 0, built.output);
    assert.deepEqual(await source.processes(), { web: ['bash', '-c', program, jar] });
  }
});

for (const [title, change, says] of [
  [
    'code that does not compile',
    { [path]: 'package org.example;\nclass Main { int x = "one"; }\n' },
    /Main\.java:\[2,22\] incompatible types/,
  ],
  [
    'a Java version that is not installed',
    { 'pom.xml': pom('<java.version>99</java.version>') },
    /pom\.xml asks for Java 99, which this server does not have\. It has Java .*: write \d+ there, if your code also runs on it, or write openjdk-99-jdk-headless into a file Aptfile\.$/m,
  ],
  ['a pom.xml that is broken', { 'pom.xml': '<project>' }, /Non-(parse|read)able POM/],
] as const) {
  test(`java: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await aSource({ 'pom.xml': pom(release), [path]: main, ...change });
    const built = await source.run('java', 'build');
    assert.notEqual(built.code, 0);
    assert.match(built.output, says);
  });
}

test('java: of several executable jars, the one whose module looks like a server is the web process', {
  skip,
}, async () => {
  await using source = await aSource({
    'pom.xml': pom('', false),
    'importer/src/main/java/Main.java': 'class Main {}\n',
    'words/src/main/java/Main.java': 'class Main { HttpServer server; }\n',
    manifest: 'Main-Class: Main\n',
  });
  for (const module of ['importer', 'words']) {
    await mkdir(join(source.folder, module, 'target'));
    await execa('jar', ['cfm', `${module}/target/${module}.jar`, 'manifest', 'manifest'], {
      cwd: source.folder,
    });
  }
  const built = await source.run('java', 'build', { MAVEN_CUSTOM_GOALS: 'validate' });
  assert.equal(built.code, 0, built.output);
  assert.match(
    built.output,
    /web: java -jar words\/target\/words\.jar \(.* `web: java -jar importer\/target\/importer\.jar`\)/,
  );
});

test('java: a jar that was compiled elsewhere is the web process, unless commands start the tool', {
  skip,
}, async () => {
  await using compiled = await aSource({ 'pom.xml': pom(release), [path]: main });
  assert.equal((await compiled.run('java', 'build')).code, 0);
  const jar = await readFile(join(compiled.folder, 'target/wikibot-1.0.jar'));
  await using alone = await ASource.of({ 'wikibot.jar': jar, 'service.template': 'type: jdk11\n' });
  assert.equal((await alone.run('java', 'detect')).output, 'java 11 (service.template)');
  const built = await alone.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, /web: java -jar wikibot\.jar/);
  await using job = await ASource.of({
    'bin/bot.jar': jar,
    'jobs.yaml': '- command: java -jar bin/bot.jar\n',
  });
  assert.equal((await job.run('java', 'detect')).output, 'java');
  assert.equal((await job.run('java', 'build')).code, 0);
  assert.equal(existsSync(join(job.layers, 'launch.toml')), false);
});

test('java: a jar does not make a tool of another language a Java tool unless a command runs Java', async () => {
  for (const [files, code] of [
    [{ 'requirements.txt': '' }, 100],
    [{ 'project.clj': '', Procfile: 'web: lein run\n' }, 100],
    [{ 'requirements.txt': '', Procfile: 'web: python app.py\nindex: java -jar lib/solr.jar\n' }, 0],
  ] as const) {
    await using source = await ASource.of({ 'lib/solr.jar': '', ...files });
    assert.equal((await source.run('java', 'detect')).code, code);
  }
});

test('java: a build.sbt is not used, and a note says what to use instead', async () => {
  await using source = await ASource.of({ 'build.sbt': '' });
  const { code, output } = await source.run('java', 'detect');
  assert.equal(code, 100);
  assert.match(output, /^note: build\.sbt is not used: this server builds .* with Maven or Gradle/);
});
