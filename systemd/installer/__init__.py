"""The installer: looks at the machine, plans what is missing as plain values, and carries that out."""
