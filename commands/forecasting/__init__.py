"""Commands about one run or a few: what will it reach, and is it on its way?"""
