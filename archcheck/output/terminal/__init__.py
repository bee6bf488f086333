"""What every text for a terminal is drawn from: cells, styled lines, excerpts, tables.

In: findings and layer rows. Out: styled lines. The only package that imports rich.
"""
