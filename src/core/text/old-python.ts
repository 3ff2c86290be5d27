/** Modules that Python has removed. Each key is the first version of Python without the modules in its list. */
const REMOVED: Readonly<Record<string, readonly string[]>> = {
  '3.11': ['binhex'],
  '3.12': ['asynchat', 'asyncore', 'distutils', 'imp', 'smtpd'],
  '3.13': [
    ...['aifc', 'audioop', 'cgi', 'cgitb', 'chunk', 'crypt', 'imghdr', 'lib2to3', 'mailcap', 'msilib', 'nis'],
    ...['nntplib', 'ossaudiodev', 'pipes', 'sndhdr', 'spwd', 'sunau', 'telnetlib', 'uu', 'xdrlib'],
  ],
};

/** A sentence if Python once had this module: since which version it is gone, and what to do. Otherwise null. */
export function removedModule(name: string): string | null {
  const version = Object.keys(REMOVED).find((one) => REMOVED[one]?.includes(name));
  if (version === undefined) return null;
  return `Since Python ${version}, Python has no module ${name}. ${USE_OTHER_VERSIONS}`;
}

/** What to do if a package or the tool itself does not work with the version of Python that is used. */
export const USE_OTHER_VERSIONS =
  'Ask for newer versions of the packages that need it, or for an older Python in .python-version, and push again.';
