import { escapeHtml } from '../core/text/escape-html.ts';

/** The facts on the landing page. All come from the settings, and none from the request. */
export interface LandingFacts {
  readonly addresses: { readonly ssh: string; readonly http: string };
  readonly deployBranch: string;
}

interface Step {
  readonly title: string;
  readonly commands: readonly string[];
  readonly note: string;
}

const LEAD =
  'Push a commit, and it is live. This server builds it, starts it beside the old version, checks that it is well, and moves the traffic. If any of that fails, the push fails, and the old version goes on.';

function stepsOf({ addresses, deployBranch }: LandingFacts): Step[] {
  const { ssh, http } = addresses;
  return [
    {
      title: 'Name the remote',
      commands: [
        `git remote add toolforge ${ssh.replace('://', '://USER@')}/TOOL.git`,
        `git remote add toolforge ${http.replace('://', '://USER@')}/TOOL.git`,
      ],
      note: 'The first over SSH with your key, the second over HTTP with your password. One of them is enough.',
    },
    {
      title: 'Push',
      commands: [`git push toolforge ${deployBranch}`],
      note: `The remote’s ${deployBranch} is what is live: it moves when the new version serves, and not before.`,
    },
    {
      title: 'Look after it',
      commands: [
        `curl -u USER --data 'help' ${http}/-/command`,
        `curl -N -u USER --data 'logs -f TOOL' ${http}/-/command`,
      ],
      note: 'Logs, releases, rollback, config vars: the same commands as over SSH.',
    },
  ];
}

/** Returns the landing page as HTML, for browsers. It has no script and no input. */
export function landingHtml(facts: LandingFacts): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>git push toolforge ${escapeHtml(facts.deployBranch)}</title>
<link rel="stylesheet" href="/-/style.css">
</head>
<body>
<main>
<h1><code>git push toolforge ${escapeHtml(facts.deployBranch)}</code></h1>
<p class="lead">${escapeHtml(LEAD)}</p>
<ol>
${stepsOf(facts).map(stepHtml).join('\n')}
</ol>
</main>
<footer>
<p>You need a tool of which you are a maintainer.
<a href="https://wikitech.wikimedia.org/wiki/Help:Toolforge">Help for Toolforge</a> ·
<a href="/healthz">Health of this server</a></p>
</footer>
</body>
</html>
`;
}

function stepHtml({ title, commands, note }: Step): string {
  const lines = commands.map((command) => `<code>${escapeHtml(command)}</code>`).join('\n');
  return `<li>
<h2>${escapeHtml(title)}</h2>
<pre>${lines}</pre>
<p>${escapeHtml(note)}</p>
</li>`;
}

/** Returns the landing page as plain text, for curl. */
export function landingText(facts: LandingFacts): string {
  const steps = stepsOf(facts).map(({ title, commands, note }, index) =>
    [`${index + 1}. ${title}`, '', ...commands.map((command) => `    ${command}`), '', `   ${note}`, ''].join(
      '\n',
    ),
  );
  return [`git push toolforge ${facts.deployBranch}`, '', LEAD, '', ...steps].join('\n');
}
