"""`audit sources`: what programs do with secrets by hand. The rules know no fleet: names are given to them."""
