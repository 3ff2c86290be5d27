import { removedModule, USE_OTHER_VERSIONS } from '../core/text/old-python.ts';

/** Messages about missing header files, programs and libraries, and the Debian packages that have what is missing. */
const DEBIAN_PACKAGES: readonly (readonly [missing: RegExp, packages: string])[] = [
  [/Can not find valid pkg-config name|mysql(_config|\.h)\b/, 'default-libmysqlclient-dev and pkg-config'],
  [/pg_config|libpq-fe\.h/, 'libpq-dev'],
  [/\bffi\.h/, 'libffi-dev'],
  [/xmlversion\.h|xml2-config|xslt-config|libxml2 and libxslt/, 'libxml2-dev and libxslt1-dev'],
  [/\b(lber|ldap)\.h|\bsasl\/sasl\.h/, 'libldap-dev and libsasl2-dev'],
  [/krb5-config|\bgssapi\/\w+\.h|\bkrb5\.h/, 'libkrb5-dev'],
  [/\bsql\.h/, 'unixodbc-dev'],
  [/\bportaudio\.h/, 'portaudio19-dev'],
  [/headers or library files could not be found for (jpeg|zlib)|jpeglib\.h/, 'libjpeg-dev and zlib1g-dev'],
  [/openssl\/\w+\.h/, 'libssl-dev'],
  [
    /Package '?(pixman-1|pangocairo)\b/,
    'libcairo2-dev, libpango1.0-dev, libjpeg-dev, libgif-dev and librsvg2-dev',
  ],
  [/\bcairo\.h|pycairo.{0,80}pkg-config|Dependency "cairo"/, 'libcairo2-dev and pkg-config'],
  [/unicode\/\w+\.h|icu-config|pkg-config.{0,80}icu/i, 'libicu-dev and pkg-config'],
  [/magick\/MagickCore\.h|wand\/MagickWand\.h|MagickWand shared library/, 'libmagickwand-dev'],
  [/gdal-config|gdal\.h/, 'libgdal-dev'],
];
const CERTIFICATE =
  /invalid peer certificate|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|SELF_SIGNED_CERT|CERTIFICATE_VERIFY_FAILED|self-signed certificate|unable to get local issuer|x509: certificate signed by unknown|server certificate verification failed|PKIX path building failed|SSL certificate problem/i;
const NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT)\b|dns error|name resolution|Could not resolve host|Network is unreachable|Connection refused|Unknown host|no such host/i;
/** Errors of git and of package managers that fetch from an SSH address. */
const SSH =
  /cannot run ssh\b|Host key verification failed|Permission denied \(publickey|ssh: (?:command )?not found|\bspawn ssh\b/;
/**
 * What npm prints last if it cannot fetch a repository that package.json names as `OWNER/NAME`. npm tries SSH only
 * after HTTPS has failed.
 */
const NPM_GIT =
  /npm (?:error|ERR!) command git .{0,80}ls-remote ssh:\/\/git@([\w.-]+\/[\w.-]+\/[\w.-]{1,100})/;
/** Errors of programs that read the commit or its tags: git, setuptools-scm, and git-commit-id for Maven. */
const NO_REPOSITORY =
  /not a git repository|setuptools-scm was unable to detect version|\.git directory is not found/;
/** Errors of package managers that name a package or a version that does not exist. */
const NO_PACKAGE =
  /was not found in the package registry|there is no version of|No matching distribution|\bcode (E404|ETARGET)\b|Couldn't find (any versions for|package) "|: Package not found|ERR_PNPM_(FETCH_404|NO_MATCHING_VERSION)|no matching package named|could not be found in any version|Could not find gem|Could not find artifact/;
const CONFLICT =
  /we can conclude that your|\bcode ERESOLVE\b|ERR_PNPM_PEER_DEP_ISSUES|failed to select a version for|could not be resolved to an installable set|not find compatible versions/;
/** What uv prints if the tool itself asks for two versions of a package. */
const TWO_VERSIONS = /Because you require (\S{1,100})==\S{1,100} and \1==/;
/**
 * What webpack 4 and older, and programs that use it, print on Node 17 and newer, whose OpenSSL lacks an old hash
 * function.
 */
const OLD_WEBPACK = /\bERR_OSSL_EVP_UNSUPPORTED\b|digital envelope routines::unsupported/;
const OTHER_CONTENT =
  /hash mismatch|checksum mismatch|\bEINTEGRITY\b|ERR_PNPM_TARBALL_INTEGRITY|Integrity check failed|checksum for .{1,80} changed/i;
const NO_PROGRAM = /^[ \t]*(?:\S+: (?:line )?\d+: )(\S{1,80}): (?:command )?not found$/m;
/** Matches errors of Node.js about a missing file that a script of package.json runs, and captures the file's path. */
const OWN_FILE = /Cannot find module '\/workspace\/([^']{1,200})'\n(?:.*\n){0,12}.*requireStack: \[\]/;
/** Matches errors of Rust about a crate that the tool does not depend on, and captures its name. */
const NO_CRATE =
  /unresolved import `(\w{1,100})[`:]|unresolved module or unlinked crate `(\w{1,100})`|undeclared crate or module `(\w{1,100})`/;
/** Matches errors of Vite, esbuild and webpack about a missing package or file, and captures its name. */
const NO_IMPORT =
  /(?:[Ff]ailed to resolve import|Could not resolve) ["']([^"'\n]{1,200})["']|Can't resolve '([^'\n]{1,200})'/;
const NO_MODULE = /Cannot find (?:module|package) '([^'./][^']{0,100})'|No module named '([\w.]{1,100})'/;
/** Errors of Python packages that are older than the Python that compiles them or runs their setup.py. */
const OLD_PACKAGE =
  /use_2to3 is invalid|longintrepr\.h|\bImpImporter\b|\bSafeConfigParser\b|newer than PyO3's maximum supported version|No module named 'pkg_resources'|_evaluate\(\) missing 1 required|error: (?:implicit declaration of function|unknown type name|too (?:few|many) arguments to function) [‘']_?Py[A-Z_]\w{1,60}|error: [‘']Py[A-Z]\w{1,40}[’'] [^\n]{0,60}has no member named|SyntaxError: (?:multiple exception types must be parenthesized|Missing parentheses in call to 'print')/;
/** What uv prints above or below the output of a package that could not be built. */
const NOT_BUILT =
  /Failed to build `([\w.=+-]{1,100})`|`([\w.-]{1,80})` \(v[\w.]{1,40}\) was included because/;
const PKG_CONFIG = /Package '?([\w.+-]{1,60})'? was not found in the pkg-config search path/;
/** Errors about requirements that cannot be fulfilled, and what to do. */
const REQUIREMENTS: readonly (readonly [error: RegExp, hint: string])[] = [
  [
    /`npm ci` command can only install with an existing package-lock/,
    'A script runs npm ci in a folder without a package-lock.json. Commit the package-lock.json of this folder, or let the script run npm install, and push again.',
  ],
  [
    /Expected direct URL .{1,300} to end in a supported file extension/,
    'Write the address of a file that ends in .zip, .tar.gz or .whl, for GitHub https://github.com/OWNER/NAME/archive/BRANCH.zip. Commit and push again.',
  ],
  [
    /has no (?:publicly available |usable )?wheels\b/,
    'This version of the package cannot be installed on Linux with the Python of this build. Ask for another version. If only another system needs the package, remove it. Commit and push again.',
  ],
  [
    /Distribution not found at: file:/,
    'This is a path of another machine, as Conda writes it into requirements.txt. Write the names and versions that `pip list --format=freeze` prints there. Commit and push again.',
  ],
  [
    /\bpkg[-_]resources was not found in the package registry/,
    'There is no such package: `pip freeze` on Ubuntu adds it by mistake. Remove its line, commit and push again.',
  ],
  [
    /(?:^|[\s:])python was not found in the package registry/,
    'Python itself is no package. Remove its line, and write the version into a file .python-version. Commit and push again.',
  ],
];
/** What the compiler of Java prints if the tool asks for a version of the language that this JDK no longer compiles. */
const OLD_JAVA = /(?:Source|Target) option \S+ is no longer supported\. Use (\d+) or later/;
/** Matches MkDocs' error about a plugin of mkdocs.yml that no installed package has, and captures the plugin's name. */
const NO_PLUGIN = /The "([\w./-]{1,60})" plugin is not installed/;
const HEADER = /fatal error: (\S+\.h(?:pp)?): No such file/;

/**
 * Says what to do about a failed step, if its output shows a known reason. Most of these reasons are not in the tool's
 * own code: for example, a library or program is missing, a host cannot be reached, or a package does not exist, is too
 * old, or excludes another package. Null if no reason is known.
 *
 * @param text - The last lines of the output. The caller must cut long lines, because searching them takes too long.
 */
export function failureHint(text: string): string | null {
  return libraryHint(text) ?? otherHint(text);
}

/**
 * Says what to do if a package could not be compiled: which Debian packages to install if a library or header is
 * missing, or that the package is too old for the Python of the build. Null if the text names neither.
 */
export function libraryHint(text: string): string | null {
  if (OLD_PACKAGE.test(text)) {
    const [, first, second] = NOT_BUILT.exec(text) ?? [];
    return `${first ?? second ?? 'A package'} is too old for the Python of this build. ${USE_OTHER_VERSIONS}`;
  }
  const packages = DEBIAN_PACKAGES.find(([missing]) => missing.test(text))?.[1];
  if (packages !== undefined)
    return `A package is compiled and needs a library. Name ${packages} in a file Aptfile, or (for Python) ask for a version that has a wheel, and push again.`;
  const header = HEADER.exec(text)?.[1] ?? PKG_CONFIG.exec(text)?.[1];
  if (header !== undefined)
    return `A package is compiled and needs ${header}. Name the Debian package (its name ends in -dev) that has this file in a file Aptfile, and push again.`;
  return null;
}

/**
 * Says that builds have no folder .git, if the reason of a failure shows that a program needs it. Does not look at
 * other lines of the output, because many programs go on without the folder.
 */
export function repositoryHint(reason: string | null): string | null {
  if (reason === null || !NO_REPOSITORY.test(reason)) return null;
  return 'Builds get the files of the commit, without the folder .git. Let the build do without what it reads from git, commit and push again.';
}

function otherHint(text: string): string | null {
  if (CERTIFICATE.test(text))
    return 'The server does not know the authority of a certificate. Tell the operator: builds trust the authorities in the certificate store of the machine.';
  const repository = NPM_GIT.exec(text)?.[1]?.replace(/\.git$/, '');
  if (repository !== undefined)
    return `npm could reach ${repository} neither by HTTPS nor by SSH, for which builds have no key. Check that this repository exists and is public, and push again later. Or ask for a version of the package from the registry.`;
  if (SSH.test(text))
    return 'A dependency comes over SSH, for which builds have no key. Write its HTTPS address in the files of the tool; if it is private, with a token. Commit and push again.';
  if (NETWORK.test(text))
    return 'A host could not be reached from the build. Push again later. If it is an address of your own, tell the operator.';
  const requirement = REQUIREMENTS.find(([error]) => error.test(text))?.[1];
  if (requirement !== undefined) return requirement;
  const program = NO_PROGRAM.exec(text)?.[1];
  if (program !== undefined)
    return `The build runs ${program}, but nothing installs it. Add its package to the dependencies of the tool, commit and push again.`;
  if (OLD_WEBPACK.test(text))
    return 'This version of webpack does not run on Node 17 or newer. Ask for Node 16 in package.json ("engines": {"node": "16.x"}), or use webpack 5, commit and push again.';
  if (TWO_VERSIONS.test(text))
    return 'The requirements ask for two versions of the same package. Remove one of these lines, commit and push again.';
  if (CONFLICT.test(text) && !NO_PACKAGE.test(text))
    return text.includes('ERESOLVE')
      ? 'Two packages need different versions of a third one. Allow another version of one of them, or write the line legacy-peer-deps=true into a file .npmrc, commit and push again.'
      : 'Two packages need different versions of a third one. Allow another version of one of them, commit and push again.';
  if (NO_PACKAGE.test(text))
    return 'Check the name and the version of this package in the files of the tool. Correct them, commit and push again.';
  if (OTHER_CONTENT.test(text))
    return 'The downloaded package is not the one that the lock file names. Make the lock file again, commit it and push again.';
  const plugin = NO_PLUGIN.exec(text)?.[1];
  if (plugin !== undefined)
    return `mkdocs.yml names the plugin ${plugin}, but nothing installs it. Add its package, with mkdocs, to docs/requirements.txt, commit and push again.`;
  const [, bundled, packed] = NO_IMPORT.exec(text) ?? [];
  const wanted = bundled ?? packed;
  if (wanted !== undefined)
    return /^[./@~]*\//.test(wanted)
      ? `There is no file ${wanted}. Check the name: upper and lower case letters differ on this server. Commit the file and push again.`
      : `The build needs ${wanted}, but nothing installs it. Add its package to the dependencies of the tool, commit and push again.`;
  const [, imported, unlinked, undeclared] = NO_CRATE.exec(text) ?? [];
  const crate = imported ?? unlinked ?? undeclared;
  if (crate !== undefined && crate !== 'crate' && crate !== 'super')
    return `If ${crate} is a package, add it to Cargo.toml with \`cargo add ${crate.replaceAll('_', '-')}\`. Otherwise correct the name. Commit and push again.`;
  const own = OWN_FILE.exec(text)?.[1];
  if (own !== undefined)
    return `The build runs ${own}, which is not in the repository. Correct its path in the scripts of package.json, or commit the file, and push again.`;
  if (/lombok\.javac\.\w{1,40}\.?|NoSuchFieldError: .{0,80}JCTree/.test(text))
    return 'This version of Lombok is too old for the JDK of this build. Write <lombok.version>1.18.40</lombok.version> into the properties of pom.xml, or this version into its dependency, commit and push again.';
  const java = OLD_JAVA.exec(text)?.[1];
  if (java !== undefined)
    return `The JDK of this build compiles for Java ${java} or newer. Write ${java} into the source and target of the compiler in pom.xml or build.gradle, commit and push again.`;
  const module = NO_MODULE.exec(text);
  if (module !== null)
    return (
      removedModule(module[2] ?? '') ??
      `The build needs ${module[1] ?? module[2]}, but nothing installs it. Add its package to the dependencies of the tool, commit and push again.`
    );
  return null;
}
