"""The style sheet of the status page, and the policy that allows it and nothing else."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--dim:#5b6675;--paper:#f4f6f8;--card:#fff;
--line:#dde2e8;--accent:#1f6feb;--good:#1a7f37;--bad:#b42318;--warm:#9a6700;--fill:#dbe7fb}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--dim:#98a3b1;--paper:#0f1419;--card:#171e26;
--line:#2b3540;--accent:#6ea8fe;--good:#56c271;--bad:#ff8078;--warm:#e0b050;--fill:#1c3050}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem 1rem 2rem}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:.4rem 1rem;margin-bottom:1rem}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.8rem 0 .6rem}
a{color:var(--accent)}
.dim,figcaption,dt,th{color:var(--dim)}
.state{font-weight:600;border:1px solid;border-radius:1rem;padding:0 .7rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.facts{margin:0 0 1.2rem;color:var(--dim)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.6rem;margin:0}
.tiles>div,figure,article,.card{background:var(--card);border:1px solid var(--line);
border-radius:.5rem}
.tiles>div{padding:.55rem .8rem}
dt{font-size:.82rem}
dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
dd small{display:block;font-size:.8rem;font-weight:400;color:var(--dim)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:.6rem;
margin-top:.6rem}
figure{margin:0;padding:.55rem .8rem}
figcaption{display:flex;justify-content:space-between;font-size:.82rem}
figcaption b{color:var(--ink);font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:4rem;margin-top:.3rem}
.line{fill:none;stroke:var(--accent);stroke-width:1.5}
.area{fill:var(--fill);stroke:none}
.rule{fill:none;stroke:var(--bad);stroke-width:1;stroke-dasharray:4 3}
figure.band{margin-bottom:.6rem}figure.band svg{height:auto}
.alerted{fill:var(--bad);stroke:var(--card);stroke-width:1}
.axis{stroke:var(--line);stroke-width:1}
article{padding:.7rem .9rem;margin-bottom:.6rem}
.head{display:flex;flex-wrap:wrap;gap:.2rem .9rem;align-items:baseline}
.head>*{overflow-wrap:anywhere}
.critical,.high,.medium,.low{font-size:.75rem;font-weight:700;text-transform:uppercase;
letter-spacing:.04em}
.critical,.high{color:var(--bad)}.medium{color:var(--warm)}.low{color:var(--dim)}
.head .right{margin-left:auto}
table{border-collapse:collapse;width:100%;margin-top:.4rem;font-size:.9rem}
th,td{text-align:left;padding:.12rem .8rem .12rem 0;vertical-align:top;overflow-wrap:anywhere;
font-weight:400}
th{font-size:.8rem}
td.number{font-variant-numeric:tabular-nums}
th:first-child{width:38%}
svg.bar{display:inline-block;width:4rem;height:.55rem;margin:0 .5rem 0 0}
.part{fill:var(--accent)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;margin:.6rem 0 0}
footer{margin-top:2rem;color:var(--dim)}
form p{margin:.6rem 0}
.card{padding:.9rem;margin-bottom:.8rem}
input[type=password],input[name=key]{font:inherit;padding:.3rem .5rem;width:min(100%,24rem)}
button{font:inherit;padding:.35rem 1rem}
label{margin-right:1rem}
@media(max-width:40rem){th:nth-child(4),td:nth-child(4),svg.bar{display:none}th:first-child{width:52%}
main{padding:1rem .7rem}}
"""

_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy: no script, no image, nothing from elsewhere, one known style sheet."""
