"""What the check's page has beside the common look."""

STYLE = """
.finding { background: var(--card); border: 1px solid var(--line); border-left: 5px solid var(--note);
  border-radius: 8px; padding: 14px 18px; margin: 0 0 12px; overflow-wrap: anywhere; }
.finding.error { border-left-color: var(--error); } .finding.warning { border-left-color: var(--warning); }
.mark { color: var(--note); } .error .mark { color: var(--error); } .warning .mark { color: var(--warning); }
.fix { color: var(--ink); } .fix b { font-weight: 600; }
details { margin-top: 6px; font-size: 13px; } summary { cursor: pointer; color: var(--quiet); }
details ul { margin: 6px 0 0; padding-left: 20px; color: var(--quiet); }
.strip { display: flex; flex-wrap: wrap; gap: 10px; margin: 10px 0 2px; }
.sizes .row { grid-template-columns: minmax(90px, 120px) 1fr 74px; }
.row.absent { color: var(--quiet); }
.absent .track b { display: none; }
@media (max-width: 640px) { .sizes .row { grid-template-columns: 1fr 70px; gap: 3px 14px; } }
"""
