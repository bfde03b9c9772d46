"""The whole service under kills, freezes and lost messages: is anything accepted ever lost?"""
