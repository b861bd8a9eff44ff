"""Where foreign programs run: commands of a model, executables of an agent.

Law: no Django. A program is confined or it does not run; whoever wants it unconfined says
`unsafe-local`. Every bound (time, memory, processes, files, output) is enforced from outside.
"""
