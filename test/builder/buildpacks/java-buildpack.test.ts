import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { ASource } from './run-buildpack.ts';

const skip =
  existsSync('/usr/bin/mvn') && existsSync('/usr/bin/javac') ? false : 'maven and a JDK are not installed';

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

test('java: an executable jar is the web process, gets its port in PORT and SERVER_PORT, and has a runtime of its own', {
  skip,
}, async () => {
  await using source = await ASource.of({ 'pom.xml': pom(release), [path]: main });
  assert.equal((await source.run('java', 'detect')).output, 'java 11 (pom.xml)');
  const built = await source.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  const { web = [] } = await source.processes();
  const [command = '', ...args] = web;
  const bin = join(source.layers, 'runtime/bin');
  const options = { cwd: source.folder, env: { PATH: `${bin}:/bin`, PORT: '8123' }, extendEnv: false };
  assert.equal((await execa(command, args, options)).stdout, 'port 8123 and 8123');
});

test('java: if Maven makes no executable jar, the push says how to name a command', { skip }, async () => {
  await using source = await ASource.of({ 'pom.xml': pom(release, false), [path]: main });
  const built = await source.run('java', 'build');
  assert.equal(built.code, 0, built.output);
  assert.match(built.output, / !\s+Maven made no executable jar, .*add a Procfile/);
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
    /pom\.xml asks for Java 99, which this server does not have\. It has Java /,
  ],
  ['a pom.xml that is broken', { 'pom.xml': '<project>' }, /Non-(parse|read)able POM/],
] as const) {
  test(`java: the build fails with the reason: ${title}`, { skip }, async () => {
    await using source = await ASource.of({ 'pom.xml': pom(release), [path]: main, ...change });
    const built = await source.run('java', 'build');
    assert.notEqual(built.code, 0);
    assert.match(built.output, says);
  });
}

test('java: a Gradle build is not used, and a hint says why', async () => {
  await using source = await ASource.of({ 'build.gradle': '' });
  const { code, output } = await source.run('java', 'detect');
  assert.equal(code, 100);
  assert.match(output, /^note: build\.gradle is not used: this server builds Java tools with Maven/);
});
