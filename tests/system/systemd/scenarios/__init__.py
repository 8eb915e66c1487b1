"""One file per scenario.

The package is installed before the user logs in, unless a line says something else:
`# package: none`, or `# package: during the session`.
"""
