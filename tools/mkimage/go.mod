module github.com/bosun-project/bosun/tools/mkimage

go 1.26.8
