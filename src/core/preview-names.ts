import type { ToolName } from './names.ts';

/** A push to a branch whose full name begins with this makes a preview. */
export const PREVIEW_BRANCHES = 'refs/heads/preview/';

// The name of a preview has only single hyphens, so that the first `--` in `NAME--TOOL` ends the name.
const NAME = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;
/** The longest label of a host name (RFC 1123 section 2.1), and the longest name of a tool. */
const MAX_LABEL = 63;

/** Returns the name under which the server runs the preview `name` of a tool. `previewRefusal` must accept the name. */
export function previewTool(tool: ToolName, name: string): ToolName {
  return `${name}--${tool}` as ToolName;
}

/** Returns the branch of a preview in the repository of its tool: `refs/heads/preview/fix` for `fix--wikibot`. */
export function previewBranch(preview: ToolName): string {
  return `${PREVIEW_BRANCHES}${previewName(preview)}`;
}

/** Returns the name that people gave a preview: `fix` for `fix--wikibot`. */
export function previewName(preview: ToolName): string {
  return preview.slice(0, preview.indexOf('--'));
}

/** The longest name of a preview that `previewNameOf` makes, in characters. */
const MAX_MADE = 30;

/**
 * Makes the name of a preview from the name of a branch: `fix-login` from `Fix/login`. Null if the branch has no letter
 * a to z.
 */
export function previewNameOf(branch: string): string | null {
  const words = branch.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const name = words
    .replace(/^[^a-z]+/, '')
    .slice(0, MAX_MADE)
    .replace(/-$/, '');
  return name === '' ? null : name;
}

/**
 * Splits `NAME--TOOL`. Null if the text does not have this form. A tool that is no preview may have such a name too.
 */
export function partsOfPreview(name: string): { readonly name: string; readonly tool: string } | null {
  const at = name.indexOf('--');
  return at < 1 ? null : { name: name.slice(0, at), tool: name.slice(at + 2) };
}

/** Why a tool cannot have a preview of this name, in one line. Null if it can. */
export function previewRefusal(tool: ToolName, name: string): string | null {
  if (tool.includes('--'))
    return `${tool} can have no previews, because its own name has two hyphens in a row`;
  if (tool.includes('_'))
    return `${tool} can have no previews, because an underscore cannot be part of a host name`;
  const most = MAX_LABEL - '--'.length - tool.length;
  if (most < 1)
    return `${tool} can have no previews, because NAME--${tool} would be too long for a host name`;
  if (!NAME.test(name))
    return 'the name of a preview consists of lower-case letters, digits and single hyphens, and begins with a letter: git push toolforge HEAD:preview/fix-login';
  // Refuse a name of two characters. In `NAME--TOOL`, the two hyphens would be the third and fourth character, and such
  // host names are reserved, such as `xn--` for other scripts: RFC 5890 section 2.3.1.
  if (name.length === 2)
    return `the name of a preview cannot have two characters, because host names that begin like ${name}-- are reserved; choose another name`;
  if (name.length > most)
    return `the name of a preview of ${tool} can have at most ${most} characters, because NAME--${tool} is a part of its host name; choose a shorter name`;
  return null;
}
