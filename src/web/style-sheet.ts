/** The style of the landing page. In light and dark mode, text has a contrast of at least 4.5 (WCAG 2.2, 1.4.3). */
export const STYLE = `:root {
  color-scheme: light dark;
  --ink: light-dark(#202122, #eaecf0);
  --soft: light-dark(#54595d, #a2a9b1);
  --paper: light-dark(#ffffff, #101418);
  --well: light-dark(#f3f5f8, #1b2128);
  --edge: light-dark(#dadee3, #2c343d);
  --link: light-dark(#3056a9, #88a3e8);
}
* { box-sizing: border-box; }
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font: 1rem/1.6 system-ui, sans-serif;
}
main, footer { max-width: 52rem; margin: 0 auto; padding: 0 1.5rem; }
main { padding-top: clamp(2rem, 8vh, 6rem); }
h1 { margin: 0; font-size: clamp(1.4rem, 5vw, 2.2rem); line-height: 1.2; }
h2 { margin: 0 0 .5rem; font-size: 1.1rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .95em; }
.lead { margin: 1.25rem 0 2.5rem; font-size: 1.15rem; }
ol { margin: 0; padding: 0; list-style: none; counter-reset: step; }
li { position: relative; margin-bottom: 2rem; padding-left: 3rem; counter-increment: step; }
li::before {
  content: counter(step);
  position: absolute;
  left: 0;
  top: 0;
  width: 1.75rem;
  height: 1.75rem;
  border: 1px solid var(--edge);
  border-radius: 50%;
  color: var(--soft);
  line-height: 1.65rem;
  text-align: center;
}
pre {
  margin: 0;
  padding: .75rem 1rem;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
  border: 1px solid var(--edge);
  border-radius: 6px;
  background: var(--well);
  line-height: 1.8;
}
li p { margin: .5rem 0 0; color: var(--soft); }
footer { padding-bottom: 3rem; }
footer p { border-top: 1px solid var(--edge); padding-top: 1rem; color: var(--soft); font-size: .9rem; }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
`;
