import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureReason } from '../../src/builder/failure-reason.ts';

/** What programs print when they fail, indented as in the output of a push, and the reason that the push gives. */
const FAILURES: readonly [what: string, output: string, reason: string][] = [
  [
    'rustc: the first of two errors, with its place',
    `   Compiling bad v0.1.0 (/workspace)
     warning: unused variable: \`unused\`
      --> src/main.rs:2:9
     error[E0425]: cannot find value \`undefined_name\` in this scope
      --> src/main.rs:4:20
       |
     4 |     println!("{}", undefined_name);
       |                    ^^^^^^^^^^^^^^ not found in this scope

     error[E0308]: mismatched types
      --> src/main.rs:3:23

     Some errors have detailed explanations: E0308, E0425.
     For more information about an error, try \`rustc --explain E0308\`.
     error: could not compile \`bad\` (bin "bad") due to 2 previous errors`,
    'src/main.rs:4:20: cannot find value `undefined_name` in this scope',
  ],
  [
    'cargo: a Cargo.toml that is broken',
    `error: unclosed table, expected \`]\`
      --> Cargo.toml:5:14
       |
     5 | [dependencies`,
    'Cargo.toml:5:14: unclosed table, expected `]`',
  ],
  [
    'cargo: a package that does not exist',
    `    Updating crates.io index
     error: no matching package named \`no-such-thing\` found
     location searched: crates.io index
     required by package \`bad v0.1.0 (/workspace)\``,
    'error: no matching package named `no-such-thing` found',
  ],
  [
    'cargo: a folder that is not in the repository',
    `error: failed to get \`shared\` as a dependency of package \`bad v0.1.0 (/workspace)\`

     Caused by:
       failed to load source for dependency \`shared\`

     Caused by:
       failed to read \`/workspace/shared/Cargo.toml\`

     Caused by:
       No such file or directory (os error 2)`,
    'failed to get `shared` as a dependency of package `bad v0.1.0 (/workspace)`: failed to read `shared/Cargo.toml`: No such file or directory (os error 2)',
  ],
  [
    'cargo: a build script that panics',
    `error: failed to run custom build command for \`prost-build v0.13.5\`

     Caused by:
       process didn't exit successfully: \`/layers/toolforge_rust/target/release/build/x/build-script-build\` (exit status: 101)
       --- stderr

       thread 'main' panicked at build.rs:8:5:
       Could not find \`protoc\` installation
       note: run with \`RUST_BACKTRACE=1\` environment variable to display a backtrace`,
    'failed to run custom build command for `prost-build v0.13.5`: Could not find `protoc` installation',
  ],
  [
    'go: the first of several errors, with its place',
    `# example.org/bad
     ./main.go:9:2: declared and not used: x
     ./main.go:10:2: undefined: undefinedFunction`,
    'main.go:9:2: declared and not used: x',
  ],
  [
    'go: a module that go.mod lacks',
    `main.go:3:8: no required module provides package rsc.io/quote; to add it:
     	go get rsc.io/quote`,
    'main.go:3:8: no required module provides package rsc.io/quote',
  ],
  [
    'go: a go.mod that is broken',
    `go: errors parsing go.mod:
     go.mod:5: unknown directive: requir`,
    'go.mod:5: unknown directive: requir',
  ],
  [
    'go: a folder vendor that does not match go.mod',
    `go: inconsistent vendoring in /workspace:
     	rsc.io/quote@v1.5.2: is explicitly required in go.mod, but not marked as explicit in vendor/modules.txt

     	To sync the vendor directory, run:
     		go mod vendor`,
    'go: inconsistent vendoring in /workspace: rsc.io/quote@v1.5.2: is explicitly required in go.mod, but not marked as explicit in vendor/modules.txt',
  ],
  [
    'maven: the first error of javac, with its place',
    `[ERROR] COMPILATION ERROR :
     [ERROR] /workspace/src/main/java/org/example/Main.java:[2,22] incompatible types: java.lang.String cannot be converted to int
     [ERROR] /workspace/src/main/java/org/example/Main.java:[3,14] cannot find symbol
     [ERROR] Failed to execute goal org.apache.maven.plugins:maven-compiler-plugin:3.13.0:compile (default-compile) on project wikibot: Compilation failure
     [ERROR] -> [Help 1]
     [ERROR] Re-run Maven using the -X switch to enable full debug logging.`,
    'src/main/java/org/example/Main.java:2:22: incompatible types: java.lang.String cannot be converted to int',
  ],
  [
    'cargo: a repository that cannot be fetched',
    `error: failed to get \`wikimisc\` as a dependency of package \`petscan_rs v0.1.0 (/workspace)\`
     Caused by:
       failed to load source for dependency \`wikimisc\`
     Caused by:
       Unable to update https://git.example/wikimisc
     Caused by:
       failed to clone into: /layers/toolforge_rust/downloads/git/db/wikimisc-cd593aef4069819e
     Caused by:
       process didn't exit successfully: \`git fetch 'https://git.example/wikimisc'\` (exit status: 128)`,
    'failed to get `wikimisc` as a dependency of package `petscan_rs v0.1.0 (/workspace)`: Unable to update https://git.example/wikimisc',
  ],
  [
    'maven: the symbol that javac does not find',
    `[ERROR] /workspace/src/main/java/org/example/Clock.java:[9,35] cannot find symbol
       symbol:   method crate(java.net.InetSocketAddress,int)
       location: class com.sun.net.httpserver.HttpServer`,
    'src/main/java/org/example/Clock.java:9:35: cannot find symbol: method crate(java.net.InetSocketAddress,int)',
  ],
  [
    'maven: an artifact that does not exist',
    `[ERROR] Failed to execute goal on project wikibot: Could not resolve dependencies for project org.example:wikibot:jar:1.0: Could not find artifact org.example:no-such-thing:jar:1 in central (https://repository.example/maven2) -> [Help 1]
     [ERROR]
     [ERROR] To see the full stack trace of the errors, re-run Maven with the -e switch.`,
    'Could not find artifact org.example:no-such-thing:jar:1 in central (https://repository.example/maven2)',
  ],
  [
    'maven 3.9: an artifact that does not exist',
    `[ERROR] Failed to execute goal on project kt: Could not resolve dependencies for project com.example:kt:jar:1.0
     [ERROR] dependency: org.example:no-such-thing:jar:1 (compile)
     [ERROR] \tCould not find artifact org.example:no-such-thing:jar:1 in central (https://repository.example/maven2)
     [ERROR] -> [Help 1]`,
    'Could not find artifact org.example:no-such-thing:jar:1 in central (https://repository.example/maven2)',
  ],
  [
    'maven: a pom.xml that is broken',
    `[ERROR] [ERROR] Some problems were encountered while processing the POMs:
     [FATAL] Non-parseable POM /workspace/pom.xml: end tag name </project> must match start tag name <dependency> from line 7 (position: TEXT seen ...<dependency>\\n</project>... @8:11)  @ line 8, column 11
     [ERROR] The build could not read 1 project -> [Help 1]`,
    'Non-parseable POM pom.xml: end tag name </project> must match start tag name <dependency> from line 7',
  ],
  [
    'gradle: the first error of javac',
    `> Task :compileJava FAILED
     /workspace/src/main/java/App.java:3: error: ';' expected
     1 error
     FAILURE: Build failed with an exception.
     * What went wrong:
     Execution failed for task ':compileJava'.`,
    "src/main/java/App.java:3: ';' expected",
  ],
];

for (const [what, output, reason] of FAILURES) {
  test(`the reason of a failed compilation is found in its output: ${what}`, () => {
    assert.equal(failureReason(output.split('\n')), reason);
  });
}
