/** Messages about missing header files, programs and libraries, and the Debian packages that have what is missing. */
const DEBIAN_PACKAGES: readonly (readonly [missing: RegExp, packages: string])[] = [
  [/Can not find valid pkg-config name|mysql(_config|\.h)\b/, 'default-libmysqlclient-dev and pkg-config'],
  [/pg_config|libpq-fe\.h/, 'libpq-dev'],
  [/\bffi\.h/, 'libffi-dev'],
  [/xmlversion\.h|xml2-config|xslt-config|libxml2 and libxslt/, 'libxml2-dev and libxslt1-dev'],
  [/\b(lber|ldap)\.h/, 'libldap-dev and libsasl2-dev'],
  [/headers or library files could not be found for (jpeg|zlib)|jpeglib\.h/, 'libjpeg-dev and zlib1g-dev'],
  [/openssl\/\w+\.h/, 'libssl-dev'],
  [/\bcairo\.h|pycairo.{0,80}pkg-config|Dependency "cairo"/, 'libcairo2-dev and pkg-config'],
  [/unicode\/\w+\.h|icu-config|pkg-config.{0,80}icu/i, 'libicu-dev and pkg-config'],
  [/magick\/MagickCore\.h|wand\/MagickWand\.h|MagickWand shared library/, 'libmagickwand-dev'],
  [/gdal-config|gdal\.h/, 'libgdal-dev'],
];
const CERTIFICATE =
  /invalid peer certificate|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF)|SELF_SIGNED_CERT|CERTIFICATE_VERIFY_FAILED|self-signed certificate|unable to get local issuer|x509: certificate signed by unknown|server certificate verification failed|PKIX path building failed|SSL certificate problem/i;
const NETWORK =
  /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT)\b|dns error|name resolution|Could not resolve host|Network is unreachable|Connection refused|Unknown host|no such host/i;
const HEADER = /fatal error: (\S+\.h(?:pp)?): No such file/;

/**
 * Sentences that say what to do about a failed step, if its output shows a cause outside the tool's own code. The known
 * causes are a missing library of Debian, a certificate and the network. Null if the output shows none of these causes.
 *
 * @param text - The last lines of the output. The caller must cut long lines, because searching them takes too long.
 */
export function failureHint(text: string): string | null {
  const packages = DEBIAN_PACKAGES.find(([missing]) => missing.test(text))?.[1];
  if (packages !== undefined)
    return `A package is compiled and needs a library. Name ${packages} in a file Aptfile, or ask for a version that has a wheel, and push again.`;
  const header = HEADER.exec(text)?.[1];
  if (header !== undefined)
    return `A package is compiled and needs ${header}. Name the Debian package (its name ends in -dev) that has this file in a file Aptfile, and push again.`;
  if (CERTIFICATE.test(text))
    return 'The server does not know the authority of a certificate. Tell the operator: builds trust the authorities in the certificate store of the machine.';
  if (NETWORK.test(text))
    return 'A host could not be reached from the build. Push again later. If it is an address of your own, tell the operator.';
  return null;
}
