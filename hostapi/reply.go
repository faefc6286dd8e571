package hostapi

// Reply is a passive answer. Exactly one of its bodies is set; a Reply without
// one is no reply. Where a decoded message holds several, the last one counts.
type Reply struct {
	Text     *Text
	Image    *Media
	Voice    *Media
	Video    *Video
	Music    *Music
	News     *News
	Transfer *Transfer
	Raw      *Raw
}

// Text is a text of at most 2,048 bytes as WeChat shows it.
type Text struct{ Content string }

// Media is an image or a voice by its media id.
type Media struct{ MediaID string }

// Video is a video by its media id.
type Video struct{ MediaID, Title, Description string }

// Music is a piece of music by its URLs.
type Music struct{ Title, Description, URL, HQURL, ThumbMediaID string }

// News is a list of articles.
type News struct{ Articles []Article }

// Article is one article of News.
type Article struct{ Title, Description, PicURL, URL string }

// Transfer hands the user over to human customer service; Account may be empty.
type Transfer struct{ Account string }

// Raw is the answer as it stands, in the format of the callback, for the events
// whose answer is business data.
type Raw struct{ Body []byte }
