"""How the page looks, and what little it does."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7e; --paper: #fbfbfa; --card: #ffffff;
  --line: #d9dee5; --accent: #0b6e99; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa8ba; --paper: #14181e; --card: #1c222b;
  --line: #323b48; --accent: #5cb8e0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 0.25rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 0.75rem; padding-bottom: 0.3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 0.6rem; }
p { margin: 0.4rem 0; } .soft, figcaption, caption { color: var(--soft); font-size: 0.9rem; }
.missing { border-left: 3px solid var(--line); padding-left: 0.8rem; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; margin-top: 0.75rem; font-size: 0.92rem; }
a { color: var(--accent); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 0.9rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { margin-top: 0.35rem; }
video { width: 100%; border-radius: 4px; display: block; image-rendering: pixelated; background: #888; }
button { font: inherit; color: var(--accent); background: none; border: 1px solid currentColor; border-radius: 6px;
  padding: 0.25rem 0.9rem; cursor: pointer; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.92rem; min-width: 60%; }
th, td { text-align: left; padding: 0.32rem 1.1rem 0.32rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 500; }
caption { text-align: left; padding-bottom: 0.3rem; }
.figures { margin-top: 1.5rem; } .figures :is(th, td):nth-child(-n+5) { white-space: nowrap; }
details { margin: 0.6rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 0.9rem; overflow-x: auto;
  font-size: 0.82rem; line-height: 1.45; }
svg, img { max-width: 100%; height: auto; } .curves svg { width: 100%; }
.graph text { fill: var(--ink); font: 13px system-ui, sans-serif; }
.graph .name { font-weight: 650; font-size: 15px; } .graph .soft { fill: var(--soft); font-size: 12px; }
.graph rect { fill: var(--card); stroke: var(--accent); } .graph path { stroke: var(--soft); fill: none; }
.graph .head { fill: var(--soft); stroke: none; }
"""

SCRIPT = """
const films = [...document.querySelectorAll("video")], button = document.querySelector("#play");
const start = () => Promise.all(films.map(film => { film.muted = true; film.currentTime = 0; return film.play(); }));
if (button) {
  button.addEventListener("click", () => {
    if (films.some(film => !film.paused)) { films.forEach(film => film.pause()); button.textContent = "Play"; }
    else { start(); button.textContent = "Pause"; }
  });
  addEventListener("load", () => start().catch(() => { button.textContent = "Play"; }));
}
"""
